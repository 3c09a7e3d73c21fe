//! A v1 hierarchy of a test's own.

use std::{fs, path::PathBuf, process::Command, thread, time::Duration};

use anyhow::{Result, ensure};

use super::{cgroup::unique, skip};

/// A named v1 hierarchy, gone when dropped.
pub struct Named {
    name: String,
    folder: tempfile::TempDir,
}

impl Named {
    pub fn mount() -> Result<Self> {
        let named = Self { name: unique("hierarchy"), folder: tempfile::tempdir()? };
        named.mount_again()?;
        Ok(named)
    }

    pub fn mount_again(&self) -> Result<()> {
        let output = Command::new("mount")
            .args(["-t", "cgroup", "-o", &format!("none,name={}", self.name), "cgroup"])
            .arg(self.folder.path())
            .output()?;
        if !output.status.success() {
            return Err(skip(format!(
                "this kernel mounts no v1 hierarchy: {}",
                String::from_utf8_lossy(&output.stderr)
            )));
        }
        Ok(())
    }

    pub fn unmount(&self) -> Result<()> {
        ensure!(Command::new("umount").arg(self.folder.path()).status()?.success(), "umount failed");
        Ok(())
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub fn hierarchy(&self) -> String {
        format!("name={}", self.name)
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if !self.folder.path().join("cgroup.procs").exists() {
            let _ = self.mount_again();
        }
        for entry in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path().join("inner"));
            let _ = fs::remove_dir(entry.path());
        }
        // One whose removed children are not released yet would stay for ever (kernel/cgroup/cgroup.c,
        // `cgroup_kill_sb`).
        thread::sleep(Duration::from_millis(300));
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}
