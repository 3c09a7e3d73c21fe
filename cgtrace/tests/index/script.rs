//! Events in few words, for the tests.

use std::rc::Rc;

use cgtrace::daemon::index::{
    Anomaly, CgroupId, Change, Child, Event, Hierarchy, HierarchyId, Index, Key, Kind, Leaf, PreviousLimits,
    Scanned, Task, UNIFIED, What,
};

/// A v1 hierarchy.
pub const PIDS: HierarchyId = HierarchyId(7);

pub fn key(id: u64) -> Key {
    Key { hierarchy: UNIFIED, id: CgroupId(id) }
}

pub fn pids(id: u64) -> Key {
    Key { hierarchy: PIDS, id: CgroupId(id) }
}

pub fn task(pid: u32) -> Task {
    let start_boot_ns = u64::from(pid) * 10;
    Task { pid, tid: pid, ppid: 1, uid: 0, start_boot_ns, cgroup: CgroupId(1), comm: [b'x'; 16] }
}

pub fn leaf(name: &str) -> Leaf {
    Leaf { bytes: name.as_bytes().into(), truncated: false }
}

pub fn mkdir(key: Key, parent: u64, name: &str) -> What {
    What::Mkdir(Child { key, parent: CgroupId(parent), level: 9, leaf: leaf(name), by: task(100) })
}

pub fn rmdir(key: Key, parent: u64, name: &str) -> What {
    What::Rmdir(Child { key, parent: CgroupId(parent), level: 9, leaf: leaf(name), by: task(200) })
}

pub fn rename(key: Key, parent: u64, name: &str) -> What {
    What::Rename(Child { key, parent: CgroupId(parent), level: 9, leaf: leaf(name), by: task(300) })
}

pub fn scanned(id: u64, parent: u64, name: &str) -> Scanned {
    Scanned { id: CgroupId(id), parent: CgroupId(parent), leaf: name.as_bytes().into() }
}

pub fn hierarchy(id: HierarchyId, name: &str) -> Hierarchy {
    Hierarchy { id, name: Rc::from(name) }
}

/// An index that knows v2 and pids since 1,000 ns, neither of them scanned.
pub fn unscanned() -> Index {
    let mut index = Index::new(PreviousLimits::default());
    index.add_hierarchy(&hierarchy(UNIFIED, "v2"), 1_000);
    index.add_hierarchy(&hierarchy(PIDS, "pids"), 1_000);
    index
}

/// The same, both scanned at 1,500 ns and found empty.
pub fn empty() -> Index {
    let mut index = unscanned();
    for hierarchy in [UNIFIED, PIDS] {
        assert_eq!(scan(&mut index, hierarchy, 1_500, &[]), []);
    }
    index
}

/// A scan during which nothing happens.
pub fn scan(index: &mut Index, hierarchy: HierarchyId, at: u64, found: &[Scanned]) -> Vec<Change> {
    index.begin_scan(hierarchy);
    let changes = index.merge_scan(hierarchy, found.to_vec(), true, at).changes;
    assert_eq!(index.check_invariants(), Ok(()));
    changes
}

/// Applies one event, and checks all that must hold. Answers with its change, and the last of the anomalies that
/// it met.
pub fn apply(index: &mut Index, boot_ns: u64, what: What) -> (Option<Change>, Option<Anomaly>) {
    let (seq, odd) = (index.seq(), index.anomalies().clone());
    let change = index.apply(&Event { boot_ns, what });
    assert_eq!(index.seq(), seq + u64::from(change.is_some()));
    assert!(change.iter().all(|change| change.seq == index.seq()));
    assert_eq!(index.check_invariants(), Ok(()));
    let odd = index.anomalies().occurred().rfind(|anomaly| index.anomalies().of(*anomaly) > odd.of(*anomaly));
    (change, odd)
}

/// Applies one event that makes a change and is not odd.
pub fn plain(index: &mut Index, boot_ns: u64, what: What) -> Change {
    let (change, odd) = apply(index, boot_ns, what);
    assert_eq!(odd, None, "{change:?}");
    change.unwrap()
}

/// The anomaly of an event that is odd and makes no change.
pub fn refused(index: &mut Index, boot_ns: u64, what: What) -> Anomaly {
    let (change, odd) = apply(index, boot_ns, what);
    assert_eq!(change, None);
    odd.unwrap()
}

/// The change, as text, and the anomaly of an event that is odd but makes a change.
pub fn odd(index: &mut Index, boot_ns: u64, what: What) -> (String, Anomaly) {
    let (change, odd) = apply(index, boot_ns, what);
    (told(change.as_ref()).concat(), odd.unwrap())
}

/// Changes as text: kind, `?` if inferred, id, path.
pub fn told<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<String> {
    let text = |change: &Change| {
        let cgroup = change.cgroup.as_ref().unwrap();
        let path =
            cgroup.path.as_deref().map_or("-".into(), |path| String::from_utf8_lossy(path).into_owned());
        let from = change.from.as_ref().and_then(|from| from.path.as_deref());
        let from = match (change.kind, from) {
            (Kind::Rename, Some(from)) => format!("{} -> ", String::from_utf8_lossy(from)),
            _ => String::new(),
        };
        let inferred = if change.inferred { "?" } else { "" };
        format!("{}{inferred} {} {from}{path}", change.kind.as_str(), cgroup.id.0)
    };
    changes.into_iter().map(text).collect()
}

pub fn path(index: &Index, key: Key) -> Option<String> {
    index.path(key).map(|path| String::from_utf8(path).unwrap())
}
