//! cAdvisor, the monitor that kubelet has inside: `target/lab/cadvisor/usr/bin/cadvisor`.
//!
//! Debian has it in bullseye only; it needs nothing but libc.

use std::fs;

use anyhow::{Context, Result};

use super::{folder, suite::Suite};

/// Fetches it if it is not there: some seconds and 30 MB.
pub fn fetch() -> Result<()> {
    let folder = folder()?;
    let (there, new) = (folder.join("cadvisor"), folder.join("cadvisor.new"));
    if there.is_dir() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new)?;
    Suite::open("bullseye", &folder)?.unpack("cadvisor", &new)?;
    fs::rename(&new, &there).with_context(|| format!("failed to make {}", there.display()))
}
