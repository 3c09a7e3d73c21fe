//! A BPF file system private to a test.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{daemon::Daemon, skip};

/// Mounted on a private directory and unmounted when dropped, which removes all pins in it.
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

    /// A pin directory that does not exist yet.
    pub fn pins(&self) -> PathBuf {
        self.path().join("cgtrace")
    }
}

/// Starts a daemon that pins to that directory.
pub fn start(pins: &Path) -> Result<Daemon> {
    start_with(pins, &[])
}

/// Like [`start`], with further arguments.
pub fn start_with(pins: &Path, arguments: &[&str]) -> Result<Daemon> {
    let pins = pins.to_str().context("the directory's path is not UTF-8")?;
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
