//! Who does not see the cgroup: its command line, configuration, namespaces, mounts and watches.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cgtrace_client::names::printable;
use cgtrace_host::process;

use super::{Hierarchy, mounts_of};
use crate::rules::{self, Inotify, Mounted, Settings};

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

/// Finds the asker; `None` if there is no such process.
#[must_use]
pub fn find(who: &Who, hierarchies: &[Hierarchy]) -> Option<AskerFound> {
    let (found, others) = match who {
        Who::Pid(pid) => (process::find(*pid)?, 0),
        Who::Comm(comm) => {
            let comm = comm.as_bytes();
            let named = process::named(&[comm.get(..15).unwrap_or(comm)]);
            let others = named.len().saturating_sub(1);
            (named.into_iter().next()?, others)
        }
    };
    Some(describe(found, others, hierarchies))
}

impl AskerFound {
    /// What the rules need of it, besides what is known of the process.
    pub(crate) fn facts(&self, process: rules::Process) -> rules::Asker {
        rules::Asker {
            process,
            arguments: self.arguments.clone(),
            config: self.config.clone(),
            namespace_root: self.namespace_root.clone(),
            mounts: self.mounts.clone(),
            inotify: self.inotify,
        }
    }

    /// The paths that it looks up, each with the setting that says so.
    pub(crate) fn paths(&self) -> Vec<(String, Option<String>)> {
        let settings = Settings::read(&self.arguments, self.config.as_deref());
        let lines = &self.found.cgroups;
        let own = lines
            .iter()
            .filter(|line| line.path != b"/")
            .find(|line| line.name == "name=systemd" || line.id == 0);
        let own = own.map(|line| String::from_utf8_lossy(&line.path).into_owned());
        settings.questions(self.is_kubelet(), own.as_deref())
    }

    fn is_kubelet(&self) -> bool {
        let program = self.arguments.first().and_then(|program| program.rsplit('/').next());
        self.found.process.comm == b"kubelet" || program == Some("kubelet")
    }

    /// That it is told of no cgroup, if so.
    pub(crate) fn without_paths(&self) -> Option<String> {
        self.paths().is_empty().then(|| {
            format!(
                "neither the flags nor the configuration of {} (pid {}) name a cgroup; name one: cgtrace why PATH --pid {1}",
                printable(&self.found.process.comm),
                self.found.process.pid
            )
        })
    }

    /// What could not be found out, and whether others have its name.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if self.others > 0 {
            notes.push(format!(
                "{} more processes are called {}; pid {} is the eldest: name another one with --pid",
                self.others,
                printable(&self.found.process.comm),
                self.found.process.pid
            ));
        }
        notes
    }
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
        namespace_root: namespace_root(&found),
        mounts: mounts_of(pid, hierarchies),
        inotify: inotify(found.process.uid),
        notes,
        found,
    }
}

/// Where a process's cgroup namespace begins, by the hierarchy on which that is deepest in the tree: each has a
/// root of its own.
fn namespace_root(found: &process::Found) -> Option<String> {
    let pid = found.process.pid;
    let theirs = process::namespace(pid, "cgroup").ok()?;
    if theirs == process::namespace(std::process::id(), "cgroup").ok()? {
        return None;
    }
    let Ok(within) = process::cgroups_within(pid) else { return common_root(found, theirs) };
    let roots = found.cgroups.iter().filter_map(|line| {
        let inner = within.iter().find(|inner| inner.id == line.id)?;
        let inner = inner.path.strip_suffix(b"/").unwrap_or(&inner.path);
        let root = line.path.strip_suffix(inner)?;
        Some(if root.is_empty() { "/".to_owned() } else { String::from_utf8_lossy(root).into_owned() })
    });
    roots.max_by_key(|root| depth(root))
}

/// Without `CAP_SYS_ADMIN` no namespace can be entered: its root is then taken to be the innermost cgroup that has all
/// its processes, on the hierarchy on which that is deepest.
fn common_root(found: &process::Found, namespace: u64) -> Option<String> {
    let same = |pid: &u32| process::namespace(*pid, "cgroup").is_ok_and(|other| other == namespace);
    let mut roots: Vec<(u32, Vec<u8>)> =
        found.cgroups.iter().map(|line| (line.id, line.path.clone())).collect();
    for pid in process::pids().into_iter().filter(same) {
        for line in process::cgroups(pid).ok().flatten().unwrap_or_default() {
            if let Some((_, root)) = roots.iter_mut().find(|(id, _)| *id == line.id) {
                *root = common(root, &line.path);
            }
        }
    }
    let texts = roots.into_iter().map(|(_, root)| String::from_utf8_lossy(&root).into_owned());
    texts.max_by_key(|root| depth(root))
}

/// The innermost cgroup that both stand in.
fn common(one: &[u8], other: &[u8]) -> Vec<u8> {
    let parts = |path: &[u8]| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let pairs = parts(one).into_iter().zip(parts(other));
    let same: Vec<Vec<u8>> = pairs.take_while(|(one, other)| one == other).map(|(one, _)| one).collect();
    let path = same.join(&b'/');
    if path.is_empty() { b"/".to_vec() } else { path }
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_that_both_stand_in() {
        assert_eq!(common(b"/a/b/c", b"/a/b"), b"/a/b");
        assert_eq!(common(b"/a/b", b"/a/bc"), b"/a");
        assert_eq!(common(b"/a", b"/b"), b"/");
        assert_eq!(common(b"/", b"/b"), b"/");
    }
}
