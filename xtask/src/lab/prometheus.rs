//! Prometheus and promtool: `target/lab/prometheus/usr/bin/`.
//!
//! Unpacked, not installed: the package would start a server on this machine. It needs only libc.

use std::fs;

use anyhow::{Context, Result};

use super::{folder, suite::Suite};
use crate::command::which;

/// Downloads it if neither this machine nor the lab has it: some seconds and 20 MB.
pub fn fetch() -> Result<()> {
    let folder = folder()?;
    let (installed, new) = (folder.join("prometheus"), folder.join("prometheus.new"));
    if installed.is_dir() || (which("prometheus").is_some() && which("promtool").is_some()) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new)?;
    Suite::open("bookworm", &folder)?.unpack("prometheus", &new)?;
    fs::rename(&new, &installed).with_context(|| format!("failed to create {}", installed.display()))
}
