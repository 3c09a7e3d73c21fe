//! A private root over this machine's: changes to it are discarded.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::skip;

/// This machine's file systems under a writable layer, so that no change reaches the machine.
pub struct Overlay {
    folder: tempfile::TempDir,
    script: String,
}

impl Overlay {
    pub fn new() -> Result<Self> {
        // The layer cannot be in the file system that it covers, so it is in memory.
        let folder =
            tempfile::tempdir_in("/dev/shm").map_err(|error| skip(format!("no /dev/shm here: {error}")))?;
        // Each command gets its own mount namespace; the layer persists in its directory.
        let at = folder.path().to_str().context("the directory's path is not UTF-8")?;
        let script = format!(
            "set -e; mount --make-rprivate /; mkdir -p {at}/layer; \
             if [ ! -e {at}/layer/upper ]; then mkdir {at}/layer/upper {at}/layer/work {at}/root; fi; \
             mount -t overlay overlay -o lowerdir=/,upperdir={at}/layer/upper,workdir={at}/layer/work {at}/root; \
             mount --rbind /proc {at}/root/proc; mount --rbind /sys {at}/root/sys; mount --rbind /dev {at}/root/dev; \
             mount -t tmpfs tmpfs {at}/root/run; mount -t tmpfs tmpfs {at}/root/tmp; \
             exec chroot {at}/root \"$@\""
        );
        let overlay = Self { folder, script };
        let probed = overlay.command("true").output().context("failed to start unshare")?;
        if !probed.status.success() {
            return Err(skip(format!(
                "no overlay over this root: {}",
                String::from_utf8_lossy(&probed.stderr).trim()
            )));
        }
        Ok(overlay)
    }

    /// A command that runs in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-c", &self.script, "sh", program]);
        command.env("DEBIAN_FRONTEND", "noninteractive").current_dir("/");
        command
    }

    /// The file in the layer that was written at that path of the root.
    pub fn written(&self, path: &str) -> PathBuf {
        self.folder.path().join("layer/upper").join(path.trim_start_matches('/'))
    }

    /// Copies a file into it.
    pub fn bring(&self, file: &Path) -> Result<String> {
        let name = file.file_name().and_then(|name| name.to_str()).context("no name")?;
        let folder = self.written("/root");
        ensure!(folder.is_dir() || fs::create_dir_all(&folder).is_ok());
        fs::copy(file, folder.join(name))?;
        Ok(format!("/root/{name}"))
    }
}
