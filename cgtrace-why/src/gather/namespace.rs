//! Determines the root of a process's cgroup namespace.

use cgtrace_host::process::{self, ProcessHandle};

/// The root of a process's cgroup namespace, if it is not ours. Each hierarchy has its own root; this is the
/// deepest.
pub(super) fn namespace_root(handle: &ProcessHandle, found: &process::ProcessInfo) -> Option<String> {
    let theirs = handle.namespace("cgroup").ok()?;
    if theirs == namespace_of(std::process::id())? {
        return None;
    }
    let Ok(within) = handle.cgroups_within() else { return common_root(found, theirs) };
    let roots = found.cgroups.iter().filter_map(|line| {
        let inner = within.iter().find(|inner| inner.id == line.id)?;
        let inner = inner.path.strip_suffix(b"/").unwrap_or(&inner.path);
        let root = line.path.strip_suffix(inner)?;
        Some(if root.is_empty() { "/".to_owned() } else { String::from_utf8_lossy(root).into_owned() })
    });
    roots.max_by_key(|root| depth(root))
}

fn namespace_of(pid: u32) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(format!("/proc/{pid}/ns/cgroup")).ok().map(|namespace| namespace.ino())
}

/// An estimate for callers without `CAP_SYS_ADMIN`, which entering a namespace requires: the innermost cgroup
/// that contains all processes of the namespace, on the hierarchy on which that is deepest.
fn common_root(found: &process::ProcessInfo, namespace: u64) -> Option<String> {
    let mut roots: Vec<(u32, Vec<u8>)> =
        found.cgroups.iter().map(|line| (line.id, line.path.clone())).collect();
    for pid in process::pids().into_iter().filter(|pid| namespace_of(*pid) == Some(namespace)) {
        let handle = ProcessHandle::open(pid).ok().flatten();
        for line in
            handle.and_then(|handle| handle.cgroups().ok()).map(|found| found.lines).unwrap_or_default()
        {
            if let Some((_, root)) = roots.iter_mut().find(|(id, _)| *id == line.id) {
                *root = common(root, &line.path);
            }
        }
    }
    let texts = roots.into_iter().map(|(_, root)| String::from_utf8_lossy(&root).into_owned());
    texts.max_by_key(|root| depth(root))
}

/// The innermost cgroup that contains both.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_is_the_innermost_shared_cgroup() {
        assert_eq!(common(b"/a/b/c", b"/a/b"), b"/a/b");
        assert_eq!(common(b"/a/b", b"/a/bc"), b"/a");
        assert_eq!(common(b"/a", b"/b"), b"/");
        assert_eq!(common(b"/", b"/b"), b"/");
    }
}
