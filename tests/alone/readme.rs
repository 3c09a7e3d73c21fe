//! The README's examples, run as they stand there.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::{Daemon, program},
    process::{Sleeper, put},
    trial,
};

const README: &str = include_str!("../../README.md");

pub fn trials() -> Vec<Trial> {
    vec![
        trial("readme::every_example_runs", every_example_runs),
        trial("readme::every_command_has_an_example", every_command_has_an_example),
    ]
}

/// A command of a `console` block, and what is shown below it.
struct Example {
    command: String,
    shown: Vec<String>,
}

fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut console = false;
    for line in README.lines() {
        match (console, line) {
            (false, "```console") => console = true,
            (true, "```") => console = false,
            (true, line) if line.starts_with("$ ") => {
                examples.push(Example { command: line[2..].to_owned(), shown: Vec::new() });
            }
            // Root's first screen follows events until it is interrupted.
            (true, line) if line.starts_with("# ") => {
                examples.push(Example { command: String::new(), shown: Vec::new() });
            }
            (true, line) => {
                if let Some(example) = examples.last_mut() {
                    example.shown.push(line.to_owned());
                }
            }
            (false, _) => {}
        }
    }
    examples.retain(|example| !example.command.is_empty());
    examples
}

/// What of a line is the same on every machine and at every time: its first word that is not a time or a number.
fn shape(line: &str) -> &str {
    line.split_whitespace().find(|word| !word.starts_with(|first: char| first.is_ascii_digit())).unwrap_or("")
}

fn every_example_runs() -> Outcome {
    let daemon = Daemon::start()?;
    // The README's cgroup, under a name of ours, with a process in it.
    let slice = Cgroup::new("v2", "readme")?;
    fs::create_dir(slice.join("web.service"))?;
    let sleeper = Sleeper::start()?;
    put(&slice.join("web.service"), "cgroup.procs", sleeper.pid())?;
    let folder = Path::new(program().get_program()).parent().context("no folder")?.to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let examples = examples();
    ensure!(examples.len() > 10, "the README has {} examples", examples.len());
    for Example { command, shown } in examples {
        let ours = command.replace("/demo.slice", &slice.name());
        let output = Command::new("timeout")
            .args(["30", "sh", "-c", &ours])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .env("PATH", &path)
            .env("CGTRACE_SOCKET", daemon.socket())
            .output()?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{command}: {output:?}");
        let stdout = String::from_utf8_lossy(&output.stdout).replace(&slice.name(), "/demo.slice");
        ensure!(!stdout.trim().is_empty(), "{command} printed nothing");
        if let Some(first) = shown.first() {
            if let Ok(code) = first.parse::<u8>() {
                ensure!(stdout.trim() == code.to_string(), "{command}: {stdout}");
                continue;
            }
            let printed = stdout.lines().next().unwrap_or_default();
            let (expected, printed) = (shape(first), shape(printed));
            // JSON has its times within a line.
            let same =
                expected == printed || expected.get(..7) == printed.get(..7) && expected.starts_with('{');
            ensure!(same, "{command}: `{printed}` is not what the README shows, `{expected}`: {stdout}");
        }
    }
    Ok(())
}

fn every_command_has_an_example() -> Outcome {
    let help = program().arg("--help").output()?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // A description that is wrapped goes on further to the right.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    ensure!(commands.len() > 5, "the help names no commands: {help}");
    let missing: Vec<&str> =
        commands.into_iter().filter(|command| !README.contains(&format!("cgtrace {command}"))).collect();
    ensure!(missing.is_empty(), "no example of {missing:?}");
    Ok(())
}
