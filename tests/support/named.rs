//! A v1 hierarchy private to a test.

use std::{
    ffi::CString,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{cgroup::unique, skip};

/// The longest time to end a hierarchy.
const PATIENCE: Duration = Duration::from_mins(3);

/// A named v1 hierarchy, destroyed when dropped.
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

    /// Mounts `count` of them, each as soon as the previous one has a cgroup `child`.
    pub fn mount_back_to_back(count: usize, child: &str) -> Result<Vec<Self>> {
        let new = |_| Ok(Self { name: unique("hierarchy"), folder: tempfile::tempdir()? });
        let all = (0..count).map(new).collect::<Result<Vec<_>>>()?;
        for named in &all {
            let target = CString::new(named.folder.path().as_os_str().as_bytes())?;
            let options = CString::new(format!("none,name={}", named.name))?;
            let kind = c"cgroup".as_ptr();
            // SAFETY: all are NUL-terminated strings that outlive the call.
            let outcome = unsafe { libc::mount(kind, target.as_ptr(), kind, 0, options.as_ptr().cast()) };
            if outcome != 0 {
                return Err(skip(format!(
                    "this kernel mounts no v1 hierarchy: {}",
                    io::Error::last_os_error()
                )));
            }
            fs::create_dir(named.folder.path().join(child))?;
        }
        Ok(all)
    }

    /// Mounts it in the mount namespace of another process only, and unmounts it again.
    pub fn pass_through(pid: u32) -> Result<Self> {
        let named = Self { name: unique("hierarchy"), folder: tempfile::tempdir()? };
        let pid = pid.to_string();
        let run = |arguments: &[&str]| {
            let mut command = Command::new("nsenter");
            command.args(["-t", &pid, "-m"]).args(arguments).arg(named.folder.path());
            command.stderr(Stdio::null()).status()
        };
        let options = format!("none,name={}", named.name);
        ensure!(run(&["mount", "-t", "cgroup", "-o", &options, "cgroup"])?.success(), "mount failed");
        let start = Instant::now();
        // A reader makes the unmount fail temporarily.
        while !run(&["umount"])?.success() {
            ensure!(start.elapsed() < PATIENCE, "it cannot be unmounted");
        }
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

    /// Whether the kernel still has it, mounted or not.
    pub fn is_alive(&self) -> bool {
        let name = format!(":{}:", self.hierarchy());
        fs::read_to_string("/proc/self/cgroup").is_ok_and(|lines| lines.contains(&name))
    }

    /// Removes all its cgroups and unmounts it, repeatedly, until the kernel destroys it; returns whether it
    /// did.
    ///
    /// An unmount destroys the hierarchy, a little later, if all removed children have been released by then;
    /// otherwise it remains until it is mounted and unmounted again (`cgroup_kill_sb`). Children are released
    /// one after another (`cgroup_destroy_wq`, both in kernel/cgroup/cgroup.c): after a burst of removals
    /// this takes seconds, in a slow virtual machine a minute. A reader, such as the daemon during a scan,
    /// makes the unmount fail temporarily.
    pub fn end(&self) -> bool {
        let start = Instant::now();
        let mut pause = Duration::from_millis(25);
        while start.elapsed() < PATIENCE {
            if !self.is_alive() {
                return true;
            }
            if !self.path().join("cgroup.procs").exists() && self.mount_again().is_err() {
                break;
            }
            remove_below(self.folder.path());
            thread::sleep(pause);
            let _ = Command::new("umount").arg(self.folder.path()).stderr(Stdio::null()).status();
            for _ in 0..20 {
                if !self.is_alive() {
                    return true;
                }
                thread::sleep(Duration::from_millis(25));
            }
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        false
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.is_alive() && !self.end() {
            eprintln!("left in the kernel: {}", self.hierarchy());
        }
    }
}

fn remove_below(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}
