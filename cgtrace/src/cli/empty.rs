//! Which cgroups are empty. That is read from cgroupfs with the caller's privileges: the daemon is not asked.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use cgtrace_client::wire::Cgroup;
use cgtrace_host::hierarchy::{Budget, Mount, discover, read_populated};

use super::{failure::Failure, text};

/// How many directory entries are read at most to find out whether a v1 cgroup is empty.
const MAX_ENTRIES: u64 = 200_000;

/// The cgroups without a process in them and below, in their order, and notes about those that could not be
/// read.
pub fn only_empty(cgroups: Vec<Cgroup>) -> Result<(Vec<Cgroup>, Vec<String>), Failure> {
    let hierarchies = discover().map_err(|error| Failure::NoAnswer(error.into()))?;
    let mounts: BTreeMap<u32, Mount> =
        hierarchies.into_iter().filter_map(|found| Some((found.id.0, found.mount?))).collect();
    let mut unread: BTreeMap<String, (u64, String)> = BTreeMap::new();
    let populated = |cgroup: &Cgroup, path: &[u8]| {
        let mount = mounts.get(&cgroup.hierarchy_id);
        let Some(mount) = mount else { return Err("not mounted here".to_owned()) };
        read_populated(mount, path, &mut Budget::new(MAX_ENTRIES, Arc::default()))
            .map_err(|error| error.to_string())
    };
    let mut empty = Vec::new();
    // Ancestors of cgroups that have a process.
    let mut above: HashSet<(u32, Vec<u8>)> = HashSet::new();
    // A cgroup is listed before its descendants: from the end, most ancestors need not be read.
    for cgroup in cgroups.into_iter().rev() {
        let path = text::bytes(cgroup.path.as_deref(), cgroup.path_hex.as_deref());
        if above.contains(&(cgroup.hierarchy_id, path.clone())) {
            continue;
        }
        match populated(&cgroup, &path) {
            Ok(Some(true)) => above.extend(ancestors(&path).map(|path| (cgroup.hierarchy_id, path.to_vec()))),
            Ok(Some(false)) => empty.push(cgroup),
            // It was removed meanwhile.
            Ok(None) => {}
            Err(error) => unread.entry(cgroup.hierarchy).or_insert((0, error)).0 += 1,
        }
    }
    empty.reverse();
    let notes = unread.into_iter().map(|(hierarchy, (count, error))| {
        format!("{count} cgroups on {hierarchy} could not be read and may be empty: {error}")
    });
    Ok((empty, notes.collect()))
}

/// The paths above a path.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    slashes.map(|at| if at == 0 { &path[..1] } else { &path[..at] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_above_everything() {
        let above: Vec<&[u8]> = ancestors(b"/a/b/c").collect();
        assert_eq!(above, [b"/".as_slice(), b"/a", b"/a/b"]);
    }
}
