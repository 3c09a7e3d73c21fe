//! What the files of a cgroup and of its ancestors say: type, controllers, limits, freezing and owners.

mod level;
mod mounts;
mod tasks;

use std::{collections::VecDeque, io, os::fd::OwnedFd};

use rustix::{
    fs::{FileType, Mode, RawDir, openat},
    io::Errno,
};

use super::{
    budget::Budget,
    discover::Mount,
    members::is_gone,
    scan::{DIRECTORY, open_root},
};
pub use level::{Freezer, Level, Owner, Usage};
pub use mounts::mounts_at;
pub use tasks::{Tasks, threads_below};

/// How many levels are read: the cgroup and its nearest ancestors.
const MAX_LEVELS: usize = 64;
/// How many child cgroups are named.
const MAX_CHILDREN: usize = 16;

/// The state of a cgroup or, if it does not exist, the levels of its nearest ancestor that does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupState {
    /// Whether it is the cgroup itself.
    pub exists: bool,
    /// The cgroup, its parent, and so on.
    pub levels: Vec<Level>,
    /// How many ancestors were not read: those nearest to the root.
    pub levels_omitted: usize,
    /// The names of its first 16 children.
    pub children: Vec<Vec<u8>>,
    /// The number of its children; at least that many if the budget ended.
    pub child_count: usize,
    /// Its processes and threads, without those of its descendants.
    pub tasks: Tasks,
}

/// Reads the state of a cgroup. Parts that cannot be read, or that vanish while they are read, are missing.
pub fn read_state(mount: &Mount, path: &[u8], budget: &mut Budget) -> io::Result<CgroupState> {
    let mut open: VecDeque<(Vec<u8>, OwnedFd)> = VecDeque::new();
    open.push_back((b"/".to_vec(), open_root(mount).map_err(io::Error::other)?));
    let mut exists = true;
    let mut levels_omitted = 0;
    for leaf in path.split(|byte| *byte == b'/').filter(|leaf| !leaf.is_empty()) {
        let Some((parent, directory)) = open.back() else { break };
        let below = match openat(directory, leaf, DIRECTORY, Mode::empty()) {
            Ok(below) => below,
            // A file of the cgroup, or a name that no cgroup can have.
            Err(Errno::NOENT | Errno::NODEV | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {
                exists = false;
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let separator: &[u8] = if parent.len() > 1 { b"/" } else { b"" };
        let path = [parent.as_slice(), separator, leaf].concat();
        open.push_back((path, below));
        if open.len() > MAX_LEVELS {
            open.pop_front();
            levels_omitted += 1;
        }
    }
    let levels = open.iter().rev().map(|(path, directory)| Level::read(path.clone(), directory)).collect();
    let (children, child_count, tasks) = match open.back() {
        // An ancestor's tasks explain nothing: it may be the root, with those of the whole machine.
        Some((_, directory)) if exists => {
            let (children, count) = children(directory, budget)?;
            (children, count, Tasks::read(directory))
        }
        _ => (Vec::new(), 0, Tasks::default()),
    };
    Ok(CgroupState { exists, levels, levels_omitted, children, child_count, tasks })
}

fn children(directory: &OwnedFd, budget: &mut Budget) -> io::Result<(Vec<Vec<u8>>, usize)> {
    let mut names = Vec::new();
    let mut count = 0;
    // The position of the caller's descriptor must not move.
    let directory = openat(directory, c".", DIRECTORY, Mode::empty())?;
    let mut buffer = Box::new_uninit_slice(16 << 10);
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if is_gone(&error.into()) => break,
            Err(error) => return Err(error.into()),
        };
        if budget.step().is_err() {
            break;
        }
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
            count += 1;
            if names.len() < MAX_CHILDREN {
                names.push(name.to_vec());
            }
        }
    }
    Ok((names, count))
}
