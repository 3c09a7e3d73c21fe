//! `lab`: the real things that tests run against, installed and built where they are missing.
//!
//! What cannot be had is reported, and does not stop the tests: those that need it skip, and say what was
//! reported. So everything has its file in `target/lab/`, or `NAME.missing` with the reason.

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

/// Brings everything that tests need; quiet when nothing is missing.
pub fn lab() -> Result<()> {
    if !is_root() && which("sudo").is_none() {
        eprintln!("lab: needs root, as the tests against the kernel do; nothing is brought");
        return Ok(());
    }
    packages::install();
    note("bookworm", image::build())?;
    note("cadvisor", cadvisor::fetch())?;
    note("prometheus", prometheus::fetch())
}

/// Where what was brought is kept.
pub fn folder() -> Result<PathBuf> {
    let folder = target()?.join("lab");
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    Ok(folder)
}

/// Leaves the reason for the tests where a thing could not be brought.
fn note(name: &str, outcome: Result<()>) -> Result<()> {
    let reason = folder()?.join(format!("{name}.missing"));
    match outcome {
        Ok(()) if reason.exists() => fs::remove_file(&reason)?,
        Ok(()) => {}
        Err(error) => {
            eprintln!("lab: no {name}: {error:#}; the tests that need it will be skipped");
            fs::write(&reason, format!("{error:#}"))?;
        }
    }
    Ok(())
}
