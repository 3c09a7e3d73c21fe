//! The settings of one cgroup.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{AtFlags, Mode, OFlags, Stat, fstat, openat, statat};

/// The most bytes of a settings file that are read; the longest, `cgroup.stat`, has some hundred.
const MAX_TEXT: u64 = 16 << 10;

/// A cgroup, by what its files say. What a kernel or a hierarchy does not have is `None`, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Its path in the hierarchy.
    pub path: Vec<u8>,
    /// Who owns its directory.
    pub owner: Option<Owner>,
    /// Who owns its `cgroup.procs`.
    pub procs_owner: Option<Owner>,
    /// Who owns its `cgroup.subtree_control`.
    pub subtree_control_owner: Option<Owner>,
    /// `cgroup.type`.
    pub kind: Option<String>,
    /// `cgroup.controllers`.
    pub controllers: Option<Vec<String>>,
    /// `cgroup.subtree_control`.
    pub subtree_control: Option<Vec<String>>,
    /// Its descendants, and `cgroup.max.descendants`.
    pub descendants: Option<Usage>,
    /// `cgroup.max.depth`; `None` if it is `max`.
    pub max_depth: Option<u64>,
    /// `pids.current` and `pids.max`.
    pub pids: Option<Usage>,
    /// `memory.current` and `memory.max` (v2).
    pub memory: Option<Usage>,
    /// Whether it is frozen, or freezing was requested.
    pub freezer: Option<Freezer>,
    /// Whether it has `cgroup.kill` (v2, since Linux 5.14).
    pub has_kill: bool,
    /// Whether it or a descendant contains a process (v2).
    pub populated: Option<bool>,
}

/// Who owns a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits.
    pub mode: u32,
}

/// How much of a limit is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The use.
    pub used: u64,
    /// The limit; `None` if it is `max`.
    pub max: Option<u64>,
}

/// The freezer of a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freezer {
    /// Whether freezing was requested of this cgroup: `cgroup.freeze`, on v1 `freezer.self_freezing`.
    pub requested: bool,
    /// Whether all its processes are frozen: `frozen` of `cgroup.events`, on v1 the `freezer.state` `FROZEN`.
    pub frozen: bool,
}

impl Level {
    /// Reads a cgroup's files; a file that cannot be read is missing.
    pub(super) fn read(path: Vec<u8>, directory: &OwnedFd) -> Self {
        let text = |name: &str| text(directory, name).ok();
        let words = |name: &str| Some(text(name)?.split_whitespace().map(str::to_owned).collect());
        let events = text("cgroup.events");
        let event = |key: &str| Some(value(events.as_deref()?, key)? == 1);
        let used = |text: Option<String>, key: &str| value(&text?, key);
        let usage = |used: Option<u64>, max: Option<String>| {
            let (used, max) = (used?, max?);
            Some(Usage { used, max: max.trim().parse().ok() })
        };
        let number = |name: &str| text(name)?.trim().parse().ok();
        let freezer = match (text("cgroup.freeze"), text("freezer.state")) {
            (Some(requested), _) => {
                Some(Freezer { requested: requested.trim() == "1", frozen: event("frozen") == Some(true) })
            }
            (None, Some(state)) => Some(Freezer {
                requested: number("freezer.self_freezing") == Some(1_u64),
                frozen: state.trim() == "FROZEN",
            }),
            (None, None) => None,
        };
        let owner_of = |name: &str| statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(owner);
        Self {
            path,
            owner: fstat(directory).ok().map(owner),
            procs_owner: owner_of("cgroup.procs"),
            subtree_control_owner: owner_of("cgroup.subtree_control"),
            kind: text("cgroup.type").map(|kind| kind.trim().to_owned()),
            controllers: words("cgroup.controllers"),
            subtree_control: words("cgroup.subtree_control"),
            descendants: usage(used(text("cgroup.stat"), "nr_descendants"), text("cgroup.max.descendants")),
            max_depth: number("cgroup.max.depth"),
            pids: usage(number("pids.current"), text("pids.max")),
            memory: usage(number("memory.current"), text("memory.max")),
            freezer,
            has_kill: owner_of("cgroup.kill").is_some(),
            populated: event("populated"),
        }
    }
}

fn owner(about: Stat) -> Owner {
    Owner { uid: about.st_uid, gid: about.st_gid, mode: about.st_mode & 0o7777 }
}

/// The value of a key in lines of `key value`.
fn value(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Reads the beginning of a file.
fn text(directory: impl AsFd, name: &str) -> io::Result<String> {
    read(directory, name, MAX_TEXT)
}

/// Reads a file, up to a limit.
pub(super) fn read(directory: impl AsFd, name: &str, limit: u64) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(directory, name, flags, Mode::empty())?;
    let mut text = String::new();
    File::from(fd).take(limit).read_to_string(&mut text)?;
    Ok(text)
}
