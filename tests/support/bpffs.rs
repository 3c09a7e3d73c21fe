//! A BPF file system of a test's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{daemon::Daemon, skip};

/// Mounted in a private folder, and unmounted when dropped; whatever is pinned in it goes with it.
pub struct Bpffs(tempfile::TempDir);

impl Bpffs {
    pub fn mount() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let output = Command::new("mount").args(["-t", "bpf", "bpf"]).arg(folder.path()).output();
        let output = output.context("failed to run mount")?;
        if !output.status.success() {
            return Err(skip(format!(
                "no BPF file system can be mounted here: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A folder for pins, not made yet.
    pub fn pins(&self) -> PathBuf {
        self.path().join("cgtrace")
    }
}

/// A daemon with its pins in that folder.
pub fn start(pins: &Path) -> Result<Daemon> {
    start_with(pins, &[])
}

/// The same, with further arguments.
pub fn start_with(pins: &Path, arguments: &[&str]) -> Result<Daemon> {
    let pins = pins.to_str().context("a folder's name that is no text")?;
    Daemon::start_with(&[&["--pin", pins], arguments].concat())
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("left mounted: {}", self.path().display());
        }
    }
}
