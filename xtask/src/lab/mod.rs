//! `lab`: installs or builds the software that tests run against.
//!
//! What is unavailable is reported and does not fail the tests: those that need it are skipped with that
//! reason. Therefore each item is in `target/lab/`, or `NAME.missing` there has the reason.

mod cadvisor;
mod image;
mod packages;
mod prometheus;
pub mod stress_ng;
mod suite;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

pub use suite::Suite;

use crate::command::{is_root, target, which};

/// Installs everything that tests need. Prints nothing if nothing is missing.
pub fn lab() -> Result<()> {
    if !is_root() && which("sudo").is_none() {
        eprintln!("lab: root is required, as for the tests against the kernel; nothing was installed");
        return Ok(());
    }
    packages::install();
    note("bookworm", image::build())?;
    note("cadvisor", cadvisor::fetch())?;
    note("prometheus", prometheus::fetch())
}

/// The lab's folder.
pub fn folder() -> Result<PathBuf> {
    let folder = target()?.join("lab");
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    Ok(folder)
}

/// Writes the reason why an item is missing, for the tests.
fn note(name: &str, outcome: Result<()>) -> Result<()> {
    let reason = folder()?.join(format!("{name}.missing"));
    match outcome {
        Ok(()) if reason.exists() => fs::remove_file(&reason)?,
        Ok(()) => {}
        Err(error) => {
            eprintln!("lab: {name} is unavailable: {error:#}; tests that need it will be skipped");
            fs::write(&reason, format!("{error:#}"))?;
        }
    }
    Ok(())
}
