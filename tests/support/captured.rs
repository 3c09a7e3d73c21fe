//! Real output for the documents: tests save it in `target/lab/captured/`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::daemon::Daemon;

fn file(name: &str) -> Result<PathBuf> {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.parent().context("the target folder has no parent")?.join("lab/captured");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{name}.txt")))
}

/// Reads a saved output.
pub fn kept(name: &str) -> Result<String> {
    Ok(fs::read_to_string(file(name)?)?)
}

/// Saves an output.
pub fn keep(name: &str, text: &str) -> Result<()> {
    let file = file(name)?;
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}

/// Runs `cgtrace` with these arguments and saves the command and its output as a terminal shows them.
pub fn console(daemon: &Daemon, words: &[&str], name: &str) -> Result<String> {
    let mut command = daemon.command();
    command.args(words);
    console_of(command, words, name)
}

/// Like [`console`], for a command that already has the arguments.
pub fn console_of(mut command: Command, words: &[&str], name: &str) -> Result<String> {
    let output = command.output()?;
    let text = format!(
        "# cgtrace {}\n{}{}",
        words.join(" "),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    keep(name, &text)?;
    Ok(text)
}
