//! Comparing the index with every cgroupfs while events go on.
//!
//! What changed while the walk ran can be seen either way by it, so it is left out: only a cgroup that the
//! index held unchanged from before the walk until after it, and one that it held at neither end, is compared.

use std::collections::{HashMap, HashSet};

use crate::{
    hierarchy::{Mount, WalkReport},
    index::{CgroupId, HierarchyId, Index, Key, Walked},
};

use super::walk::{WalkJob, WalkResult};

/// A walk to compare with. Blocking: run it on a thread of its own.
#[derive(Debug)]
pub struct VerifyJob {
    pub(super) number: u64,
    pub(super) mounts: Vec<(HierarchyId, Mount)>,
}

/// What the walk found.
#[derive(Debug)]
pub struct VerifyWalk {
    pub(super) number: u64,
    pub(super) results: Vec<WalkResult>,
}

impl VerifyJob {
    /// Walks every hierarchy.
    #[must_use]
    pub fn run(self) -> VerifyWalk {
        VerifyWalk { number: self.number, results: WalkJob { hierarchies: self.mounts }.run() }
    }
}

/// What one side believes of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Belief {
    /// It does not exist.
    Absent,
    /// It exists below that parent, by that name.
    Present {
        /// The parent's id.
        parent: CgroupId,
        /// Its leaf name.
        leaf: Vec<u8>,
    },
}

/// A cgroup on which the index and the file system disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The cgroup.
    pub key: Key,
    /// Its path, as far as the index knows one.
    pub path: Option<Vec<u8>>,
    /// What the index believes.
    pub index: Belief,
    /// What the walk found.
    pub filesystem: Belief,
}

/// How the comparison came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Cgroups compared.
    pub compared: u64,
    /// Hierarchies, or parts of them, that could not be read, with the reason.
    pub unread: Vec<String>,
    /// Where the two disagree.
    pub differences: Vec<Difference>,
}

/// The cgroups that changed since a verification began.
#[derive(Debug, Default)]
pub struct Touched {
    keys: HashSet<Key>,
    /// Records were lost or a hierarchy came or went: the comparison means nothing and is to be done again.
    pub spoilt: bool,
}

impl Touched {
    /// Notes that this cgroup was made, removed or renamed.
    pub fn touch(&mut self, key: Key) {
        self.keys.insert(key);
    }
}

/// Compares one hierarchy's walk with the index as it is now.
pub fn compare(
    index: &Index,
    hierarchy: HierarchyId,
    walked: Vec<Walked>,
    report: &WalkReport,
    touched: &Touched,
    verified: &mut Verified,
) {
    let mut found: HashMap<CgroupId, Walked> =
        walked.into_iter().map(|directory| (directory.id, directory)).collect();
    let known = index.resolve(hierarchy, b"/").into_iter().flat_map(|root| index.subtree(root));
    for (key, _) in known {
        let walked = found.remove(&key.id);
        if key.id == crate::index::ROOT || touched.keys.contains(&key) {
            continue;
        }
        let Some(life) = index.life(key) else { continue };
        verified.compared += 1;
        let ours = Belief::Present { parent: life.parent, leaf: life.leaf.to_vec() };
        let theirs = belief(walked);
        // A directory that could not be read hides what is below it; the report says so.
        let hidden = theirs == Belief::Absent && report.unreadable > 0;
        if ours != theirs && !hidden {
            verified.differences.push(Difference {
                key,
                path: index.path(key),
                index: ours,
                filesystem: theirs,
            });
        }
    }
    for (id, walked) in found {
        let key = Key { hierarchy, id };
        if touched.keys.contains(&key) || id == crate::index::ROOT {
            continue;
        }
        verified.compared += 1;
        let path = index
            .path(Key { hierarchy, id: walked.parent })
            .map(|parent| [parent.strip_suffix(b"/").unwrap_or(&parent), b"/", &walked.leaf].concat());
        let index = match index.life(key) {
            // Known, but not reachable from the root.
            Some(life) => Belief::Present { parent: life.parent, leaf: life.leaf.to_vec() },
            None => Belief::Absent,
        };
        verified.differences.push(Difference { key, path, index, filesystem: belief(Some(walked)) });
    }
}

fn belief(walked: Option<Walked>) -> Belief {
    walked.map_or(Belief::Absent, |directory| Belief::Present {
        parent: directory.parent,
        leaf: directory.leaf.into_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Event, Hierarchy, Leaf, Limits, ROOT, Task, UNIFIED, What};

    fn walked(id: u64, leaf: &str) -> Walked {
        Walked { id: CgroupId(id), parent: ROOT, leaf: leaf.as_bytes().into() }
    }

    fn index(cgroups: &[(u64, &str)]) -> Index {
        let mut index = Index::new(Limits::default());
        index.know_hierarchy(&Hierarchy { id: UNIFIED, name: "v2".into() }, 1);
        for (id, leaf) in cgroups {
            let by = Task { pid: 1, tid: 1, ppid: 0, uid: 0, start_boot_ns: 0, cgroup: ROOT, comm: [0; 16] };
            let key = Key { hierarchy: UNIFIED, id: CgroupId(*id) };
            let leaf = Leaf { bytes: leaf.as_bytes().into(), truncated: false };
            index.apply(&Event { boot_ns: *id, what: What::Mkdir { key, parent: ROOT, level: 1, leaf, by } });
        }
        index
    }

    /// What is said of each difference: id, path, what the index believes, what the walk found.
    fn differences(index: &Index, found: Vec<Walked>, touched: &Touched) -> Vec<(u64, String, bool, bool)> {
        let mut verified = Verified::default();
        compare(index, UNIFIED, found, &WalkReport::default(), touched, &mut verified);
        let mut told: Vec<_> = verified
            .differences
            .into_iter()
            .map(|Difference { key, path, index, filesystem }| {
                let path = path.map(|path| String::from_utf8_lossy(&path).into_owned());
                let present = |belief: &Belief| *belief != Belief::Absent;
                (key.id.0, path.unwrap_or_default(), present(&index), present(&filesystem))
            })
            .collect();
        told.sort();
        told
    }

    #[test]
    fn each_difference_is_told_with_what_both_say() {
        let index = index(&[(10, "same"), (11, "gone"), (12, "old-name")]);
        let found = vec![walked(10, "same"), walked(12, "new-name"), walked(13, "unknown")];
        assert_eq!(
            differences(&index, found, &Touched::default()),
            [
                (11, "/gone".to_owned(), true, false),
                (12, "/old-name".to_owned(), true, true),
                (13, "/unknown".to_owned(), false, true),
            ]
        );
    }

    #[test]
    fn what_changed_meanwhile_is_no_difference() {
        let index = index(&[(11, "gone")]);
        let mut touched = Touched::default();
        for id in [11, 13] {
            touched.touch(Key { hierarchy: UNIFIED, id: CgroupId(id) });
        }
        assert_eq!(differences(&index, vec![walked(13, "made")], &touched), []);
    }
}
