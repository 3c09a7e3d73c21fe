//! Cgroups that remove themselves.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use cgtrace_host::hierarchy::{Mount, discover};

use super::skip;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A name that no other test uses.
pub fn unique(what: &str) -> String {
    format!("cgtrace-test-{what}-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The mount point of a hierarchy.
pub fn mount(name: &str) -> Result<PathBuf> {
    let found = discover()?
        .into_iter()
        .find(|found| found.name.split(',').any(|part| part == name))
        .and_then(|found| found.mount);
    found.map(|Mount { path, .. }| path).ok_or_else(|| skip(format!("no `{name}` hierarchy is mounted here")))
}

/// A hierarchy that exists here: v2 or, where it is not mounted, one of v1.
pub fn any() -> &'static str {
    if mount("v2").is_ok() { "v2" } else { "pids" }
}

/// Like [`any`], but prefers v1.
pub fn any_v1_first() -> &'static str {
    if mount("pids").is_ok() { "pids" } else { "v2" }
}

/// v2 and one of v1, where mounted.
pub fn both() -> Vec<&'static str> {
    ["v2", "pids"].into_iter().filter(|hierarchy| mount(hierarchy).is_ok()).collect()
}

/// A cgroup, removed with all its descendants when dropped, even if the test failed.
pub struct Cgroup {
    mount: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Creates a cgroup at the top of a hierarchy.
    pub fn new(hierarchy: &str, what: &str) -> Result<Self> {
        Self::at(&mount(hierarchy)?, &unique(what))
    }

    pub fn at(mount: &Path, name: &str) -> Result<Self> {
        let path = mount.join(name);
        fs::create_dir(&path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { mount: mount.to_owned(), path })
    }

    /// A cgroup that another process created for the test.
    pub fn existing(mount: &Path, name: &str) -> Self {
        Self { mount: mount.to_owned(), path: mount.join(name) }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of a descendant.
    pub fn join(&self, leaf: impl AsRef<Path>) -> PathBuf {
        self.path.join(leaf)
    }

    /// Its path in the hierarchy.
    pub fn name(&self) -> String {
        self.name_of(&self.path)
    }

    /// The cgroup path of a directory.
    pub fn name_of(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.mount).unwrap_or(path);
        format!("/{}", below.display())
    }

    pub fn id(&self) -> Result<u64> {
        id(&self.path)
    }
}

/// A directory's inode number, which is the cgroup id.
pub fn id(path: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(fs::metadata(path).with_context(|| format!("failed to stat {}", path.display()))?.ino())
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that was just killed leaves its cgroup a little later.
        for _ in 0..100 {
            remove_tree(&self.path);
            if !self.path.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
            kill_all(&self.path);
        }
        eprintln!("left behind: {}", self.path.display());
    }
}

/// Kills the processes that a failed test left in a cgroup or its descendants, except this one.
fn kill_all(top: &Path) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            kill_all(&entry.path());
        }
    }
    let members = fs::read_to_string(top.join("cgroup.procs")).unwrap_or_default();
    let own = std::process::id().cast_signed();
    for pid in members.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != own) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Removes a cgroup and its descendants at any depth, however long their paths.
pub fn remove_tree(top: &Path) {
    use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut stack: Vec<(rustix::fd::OwnedFd, Vec<std::ffi::OsString>)> = Vec::new();
    let Ok(root) = openat(CWD, top, flags, Mode::empty()) else { return };
    let Ok(names) = folders(&root) else { return };
    stack.push((root, names));
    // Depth first; each directory is closed as soon as everything below it is removed.
    let mut trail: Vec<std::ffi::OsString> = Vec::new();
    while let Some((fd, names)) = stack.last_mut() {
        if let Some(name) = names.pop() {
            if let Ok(below) = openat(&*fd, &*name, flags, Mode::empty())
                && let Ok(inner) = folders(&below)
            {
                trail.push(name);
                stack.push((below, inner));
            }
            continue;
        }
        stack.pop();
        if let (Some((parent, _)), Some(name)) = (stack.last(), trail.pop()) {
            let _ = unlinkat(parent, &*name, AtFlags::REMOVEDIR);
        }
    }
    let _ = fs::remove_dir(top);
}

fn folders(fd: &rustix::fd::OwnedFd) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    // A name may have 4 KB.
    let mut buffer = Vec::with_capacity(64 << 10);
    let mut entries = rustix::fs::RawDir::new(fd, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if entry.file_type() == rustix::fs::FileType::Directory && name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}
