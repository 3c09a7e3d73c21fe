//! Who does not see the cgroup: its command line, configuration, namespaces, mounts and watches.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use super::{Hierarchy, mounts_of};
use crate::{
    process,
    why::{Inotify, Mounted, Settings},
};

/// So long is looked for inotify watches: on a machine with very many descriptors their number stays unknown.
const INOTIFY_TIME: Duration = Duration::from_millis(150);

/// Whom somebody means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The process of that pid.
    Pid(u32),
    /// The eldest process of that comm; what is beyond 15 bytes is cut, as the kernel cuts it.
    Comm(String),
}

/// An asker.
#[derive(Clone, Debug)]
pub struct AskerFound {
    /// The process.
    pub found: process::Found,
    /// How many others have the same comm, if it was asked for by that.
    pub others: usize,
    /// Its command line.
    pub arguments: Vec<String>,
    /// The text of the file that its `--config` names.
    pub config: Option<String>,
    /// Its cgroup namespace's root, if that is not ours.
    pub namespace_root: Option<String>,
    /// The cgroup file systems that it can reach.
    pub mounts: Option<Vec<Mounted>>,
    /// inotify's limits and use.
    pub inotify: Option<Inotify>,
    /// What could not be found out, and why.
    pub notes: Vec<String>,
}

/// Finds the asker; `None` if there is no such process. `permitted` says of whose uid it may be.
pub fn find(
    who: &Who,
    hierarchies: &[Hierarchy],
    permitted: impl Fn(u32) -> bool,
) -> Option<Result<AskerFound, u32>> {
    let (found, others) = match who {
        Who::Pid(pid) => (process::find(*pid)?, 0),
        Who::Comm(comm) => {
            let comm = comm.as_bytes();
            let mut named = process::named(&[comm.get(..15).unwrap_or(comm)]);
            // Somebody who may not know of others asks about their own.
            let place = named.iter().position(|found| permitted(found.process.uid)).unwrap_or(0);
            if named.is_empty() {
                return None;
            }
            let others = named.len() - 1;
            (named.swap_remove(place), others)
        }
    };
    if !permitted(found.process.uid) {
        return Some(Err(found.process.pid));
    }
    Some(Ok(describe(found, others, hierarchies)))
}

fn describe(found: process::Found, others: usize, hierarchies: &[Hierarchy]) -> AskerFound {
    let pid = found.process.pid;
    let mut notes = Vec::new();
    let arguments = process::arguments(pid).unwrap_or_else(|error| {
        notes.push(format!("the asker's command line is not known: {error}"));
        Vec::new()
    });
    let config = Settings::read(&arguments, None).config.and_then(|setting| {
        process::file(pid, Path::new(&setting.value))
            .map_err(|error| notes.push(format!("`{}` could not be read: {error}", setting.value)))
            .ok()
    });
    AskerFound {
        others,
        arguments,
        config,
        namespace_root: namespace_root(&found, hierarchies),
        mounts: mounts_of(pid, hierarchies),
        inotify: inotify(found.process.uid),
        notes,
        found,
    }
}

/// Where a process's cgroup namespace begins, by the hierarchy on which that is deepest in the tree: each has a
/// root of its own.
fn namespace_root(found: &process::Found, hierarchies: &[Hierarchy]) -> Option<String> {
    let pid = found.process.pid;
    let theirs = process::namespace(pid, "cgroup").ok()?;
    if theirs == process::namespace(std::process::id(), "cgroup").ok()? {
        return None;
    }
    let within = process::cgroups_within(pid);
    let roots = found.cgroups.iter().filter_map(|line| {
        let inner = within.as_ref().ok()?.iter().find(|inner| inner.id == line.id)?;
        let inner = inner.path.strip_suffix(b"/").unwrap_or(&inner.path);
        let root = line.path.strip_suffix(inner)?;
        Some(if root.is_empty() { "/".to_owned() } else { String::from_utf8_lossy(root).into_owned() })
    });
    let of_mounts = mounts_of(pid, hierarchies).unwrap_or_default().into_iter().map(|mounted| mounted.root);
    roots.chain(of_mounts).max_by_key(|root| root.split('/').filter(|part| !part.is_empty()).count())
}

fn inotify(uid: u32) -> Option<Inotify> {
    let limit = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok()
    };
    let until = Instant::now() + INOTIFY_TIME;
    let used = process::inotify_of(uid, || Instant::now() > until);
    Some(Inotify {
        max_watches: limit("max_user_watches")?,
        watches: used.map(|(watches, _)| watches),
        max_instances: limit("max_user_instances")?,
        instances: used.map(|(_, instances)| instances),
    })
}
