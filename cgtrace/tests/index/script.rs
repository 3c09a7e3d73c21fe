//! Concise constructors of events for the tests.

use std::rc::Rc;

use cgtrace::daemon::index::{
    Actor, Anomaly, CgroupId, Change, Child, Creation, Event, Hierarchy, HierarchyId, Index, Key, Kind, Leaf,
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

/// An index with v2 and pids, observed since 1,000 ns, neither of them scanned.
pub fn unscanned() -> Index {
    let mut index = Index::new();
    index.add_hierarchy(&hierarchy(UNIFIED, "v2"), 1_000);
    index.add_hierarchy(&hierarchy(PIDS, "pids"), 1_000);
    index
}

/// The same index, both scanned at 1,500 ns and empty.
pub fn empty() -> Index {
    let mut index = unscanned();
    for hierarchy in [UNIFIED, PIDS] {
        assert_eq!(scan(&mut index, hierarchy, 1_500, &[]), []);
    }
    index
}

/// The ended instance that an rmdir reports: creation, time of the removal, task that removed it.
pub fn ended(change: &Change) -> (Creation, u64, Option<Rc<Actor>>) {
    assert_eq!((change.kind, change.inferred), (Kind::Rmdir, change.by.is_none()), "{change:?}");
    (change.creation.clone().unwrap(), change.boot_ns, change.by.clone())
}

/// The path by which a late event names a removed cgroup.
pub fn last_path(index: &mut Index, key: Key) -> Option<String> {
    let late = Event { boot_ns: 9_000, what: What::Populated { key, populated: false } };
    let path = index.apply(&late).unwrap().cgroup.unwrap().path;
    path.map(|path| String::from_utf8(path.to_vec()).unwrap())
}

/// Merges a scan during which nothing changes.
pub fn scan(index: &mut Index, hierarchy: HierarchyId, at: u64, found: &[Scanned]) -> Vec<Change> {
    index.begin_scan(hierarchy);
    let changes = index.merge_scan(hierarchy, found.to_vec(), true, at).changes;
    assert_eq!(index.check_invariants(), Ok(()));
    changes
}

/// Applies one event, and checks the invariants. Returns its change, and the last anomaly that it caused.
pub fn apply(index: &mut Index, boot_ns: u64, what: What) -> (Option<Change>, Option<Anomaly>) {
    let (seq, before) = (index.seq(), index.anomalies().clone());
    let change = index.apply(&Event { boot_ns, what });
    assert_eq!(index.seq(), seq + u64::from(change.is_some()));
    assert!(change.iter().all(|change| change.seq == index.seq()));
    assert!(change.iter().all(|change| change.creation.is_some() == (change.kind == Kind::Rmdir)));
    assert!(change.iter().all(|change| change.exec.is_some() == (change.kind == Kind::Exec)));
    assert_eq!(index.check_invariants(), Ok(()));
    let anomaly =
        index.anomalies().occurred().rfind(|anomaly| index.anomalies().of(*anomaly) > before.of(*anomaly));
    (change, anomaly)
}

/// Applies one event that yields a change and no anomaly.
pub fn plain(index: &mut Index, boot_ns: u64, what: What) -> Change {
    let (change, anomaly) = apply(index, boot_ns, what);
    assert_eq!(anomaly, None, "{change:?}");
    change.unwrap()
}

/// Applies one event that yields an anomaly and no change.
pub fn refused(index: &mut Index, boot_ns: u64, what: What) -> Anomaly {
    let (change, anomaly) = apply(index, boot_ns, what);
    assert_eq!(change, None);
    anomaly.unwrap()
}

/// Applies one event that yields both a change, returned as text, and an anomaly.
pub fn anomalous(index: &mut Index, boot_ns: u64, what: What) -> (String, Anomaly) {
    let (change, anomaly) = apply(index, boot_ns, what);
    (text(change.as_ref()).concat(), anomaly.unwrap())
}

/// Changes as text: kind, `?` if inferred, id, path.
pub fn text<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<String> {
    let line = |change: &Change| {
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
    changes.into_iter().map(line).collect()
}

pub fn path(index: &Index, key: Key) -> Option<String> {
    index.path(key).map(|path| String::from_utf8(path).unwrap())
}
