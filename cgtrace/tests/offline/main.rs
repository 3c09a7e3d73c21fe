//! The commands that read a history without a daemon (`--history DIR`), and what they ask a daemon.

#![expect(clippy::panic, clippy::unwrap_used, reason = "test code")]

mod daemon;
mod errors;
mod export;
mod history;
mod log;
mod state;

use std::{path::Path, process::Command};

/// What a command printed, and its exit status.
struct Answer {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    #[track_caller]
    fn json(&self) -> Vec<serde_json::Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        self.stdout.lines().map(parse).collect()
    }

    #[track_caller]
    fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self
    }
}

/// Runs a command. It could not reach a daemon: nothing is asked of one.
fn cgtrace(folder: &Path, arguments: &[&str]) -> Answer {
    let history = [&b"--history="[..], folder.as_os_str().as_encoded_bytes()].concat();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgtrace"));
    command
        .args(arguments)
        .arg(String::from_utf8(history).unwrap())
        .env("TZ", "UTC")
        .env("CGTRACE_SOCKET", "/nowhere/io.cgtrace");
    answer(&mut command)
}

fn answer(command: &mut Command) -> Answer {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}
