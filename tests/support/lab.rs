//! The files and programs that `cargo xtask lab` installs.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::skip;

fn folder() -> Result<PathBuf> {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    Ok(target.parent().context("the target folder has no parent")?.join("lab"))
}

/// A file or directory of the lab. Skips the test, with the recorded reason, if it is not available.
pub fn brought(name: &str, file: &str) -> Result<PathBuf> {
    let folder = folder()?;
    let missing = folder.join(format!("{name}.missing"));
    if let Ok(reason) = fs::read_to_string(&missing) {
        return Err(skip(format!("`cargo xtask lab` could not get {name}: {}", reason.trim())));
    }
    let path = folder.join(file);
    if !path.exists() {
        return Err(skip(format!("no {}; run `cargo xtask lab` as root", path.display())));
    }
    Ok(path)
}

/// A program on PATH. Skips the test if it is not installed.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| skip(format!("no program `{name}` here; run `cargo xtask lab` as root")))
}
