//! cAdvisor, the monitor that kubelet embeds: `target/lab/cadvisor/usr/bin/cadvisor`.
//!
//! Debian has it in bullseye only. It needs only libc.

use std::fs;

use anyhow::{Context, Result};

use super::{folder, suite::Suite};

/// Downloads it if it is missing: some seconds and 30 MB.
pub fn fetch() -> Result<()> {
    let folder = folder()?;
    let (installed, new) = (folder.join("cadvisor"), folder.join("cadvisor.new"));
    if installed.is_dir() {
        return Ok(());
    }
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new)?;
    Suite::open("bullseye", &folder)?.unpack("cadvisor", &new)?;
    fs::rename(&new, &installed).with_context(|| format!("failed to create {}", installed.display()))
}
