//! Applying single events, also in orders that no kernel produces.

use std::rc::Rc;

use crate::script::{
    PIDS, anomalous, apply, empty, ended, key, last_path, leaf, mkdir, path, pids, plain, refused, rename,
    rmdir, scan, task, text, unscanned,
};
use cgtrace::daemon::index::{
    Actor, Anomaly, CgroupId, Change, Child, Creation, Gap, HierarchyId, Index, Kind, Leaf, Origin, ROOT,
    Task, UNIFIED, What,
};

fn actor(pid: u32, cgroup: &str) -> Rc<Actor> {
    Rc::new(Actor { task: Rc::new(task(pid)), cgroup: Some(cgroup.as_bytes().into()) })
}

fn before(boot_ns: u64) -> Creation {
    Creation { boot_ns, origin: Origin::Preexisting, by: None }
}

pub fn ids(index: &Index, hierarchy: HierarchyId) -> Vec<u64> {
    let root = cgtrace::daemon::index::Key { hierarchy, id: ROOT };
    index.subtree(root).map(|(key, _)| key.id.0).collect()
}

#[test]
fn a_created_cgroup_has_its_exact_creation_and_creator() {
    let mut index = empty();
    let change = plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    assert_eq!(text([&change]), ["mkdir 5 /a"]);
    assert_eq!(change.boot_ns, 2_000);
    assert_eq!(change.cgroup.unwrap().hierarchy_name.as_deref(), Some("v2"));
    assert_eq!(change.by, Some(actor(100, "/")));
    let instance = index.instance(key(5)).unwrap();
    assert_eq!((instance.parent, instance.level, instance.leaf), (ROOT, 9, &b"a"[..]));
    assert_eq!(
        instance.creation,
        Creation { boot_ns: 2_000, origin: Origin::Observed, by: Some(actor(100, "/")) }
    );
    assert_eq!(index.resolve(UNIFIED, b"/a"), Some(key(5)));
    assert_eq!(index.resolve(PIDS, b"/a"), None);
}

#[test]
fn an_rmdir_reports_the_instance_that_ended() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    let change = plain(&mut index, 3_000, rmdir(key(5), 1, "a"));
    assert_eq!(text([&change]), ["rmdir 5 /a"]);
    let creation = Creation { boot_ns: 2_000, origin: Origin::Observed, by: Some(actor(100, "/")) };
    assert_eq!(ended(&change), (creation, 3_000, Some(actor(200, "/"))));
    assert_eq!(index.resolve(UNIFIED, b"/a"), None);
    assert_eq!(index.instance(key(5)), None);
    let state = index.hierarchy(UNIFIED).unwrap();
    assert_eq!((state.cgroups, state.created, state.removed), (1, 1, 1));
}

#[test]
fn equal_ids_in_two_hierarchies_are_two_cgroups() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(pids(5), 1, "b"));
    let change = plain(&mut index, 2_002, rmdir(pids(5), 1, "b"));
    assert_eq!((ended(&change).0.boot_ns, change.cgroup.unwrap().hierarchy), (2_001, PIDS));
    assert_eq!(path(&index, key(5)).as_deref(), Some("/a"));
    assert_eq!(index.path(pids(5)), None);
    assert_eq!(last_path(&mut index, pids(5)).as_deref(), Some("/b"));
}

#[test]
fn an_id_over_32_bits_is_not_its_low_half() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(key((1 << 32) + 5), 1, "b"));
    plain(&mut index, 2_002, rmdir(key(5), 1, "a"));
    assert_eq!(index.resolve(UNIFIED, b"/b"), Some(key((1 << 32) + 5)));
    assert_eq!(path(&index, key((1 << 32) + 5)).as_deref(), Some("/b"));
}

#[test]
fn a_rename_keeps_the_instance_and_moves_its_descendants() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(pids(6), 5, "b"));
    let change = plain(&mut index, 2_002, rename(pids(5), 1, "z"));
    assert_eq!(text([&change]), ["rename 5 /a -> /z"]);
    assert_eq!(change.by, Some(actor(300, "/")));
    assert_eq!(index.instance(pids(5)).unwrap().creation.boot_ns, 2_000);
    assert_eq!(path(&index, pids(6)).as_deref(), Some("/z/b"));
    assert_eq!(index.resolve(PIDS, b"/z/b"), Some(pids(6)));
    assert_eq!(index.resolve(PIDS, b"/a"), None);
    assert_eq!(text([&plain(&mut index, 2_003, rmdir(pids(6), 5, "b"))]), ["rmdir 6 /z/b"]);
}

#[test]
fn a_creators_cgroup_is_reported_by_its_current_path() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    let by = Task { cgroup: CgroupId(5), ..task(1) };
    let make = |id, name| What::Mkdir(Child { key: pids(id), parent: ROOT, level: 1, leaf: leaf(name), by });
    let made_in = |change: Change| change.by.unwrap().cgroup.clone();
    assert_eq!(made_in(plain(&mut index, 2_001, make(6, "x"))).as_deref(), Some(&b"/a"[..]));
    plain(&mut index, 2_002, rename(key(5), 1, "z"));
    assert_eq!(made_in(plain(&mut index, 2_003, make(7, "y"))).as_deref(), Some(&b"/z"[..]));
}

#[test]
fn an_rmdir_removes_only_the_id_it_names() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    // The name is reused before the first cgroup's rmdir is applied.
    let again = anomalous(&mut index, 2_002, mkdir(key(6), 1, "a"));
    assert_eq!(again, ("mkdir 6 /a".into(), Anomaly::NameTaken));
    assert_eq!(index.resolve(UNIFIED, b"/a"), Some(key(6)));
    assert_eq!(path(&index, key(5)).as_deref(), Some("/a"));
    let first = plain(&mut index, 2_003, rmdir(key(5), 1, "a"));
    assert_eq!(index.resolve(UNIFIED, b"/a"), Some(key(6)));
    let second = plain(&mut index, 2_004, rmdir(key(6), 1, "a"));
    assert_eq!(index.resolve(UNIFIED, b"/a"), None);
    assert_eq!(text([&first, &second]), ["rmdir 5 /a", "rmdir 6 /a"]);
    assert_eq!([&first, &second].map(|change| ended(change).0.boot_ns), [2_000, 2_002]);
}

#[test]
fn a_duplicate_mkdir_or_rmdir_is_an_anomaly_without_a_change() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    assert_eq!(refused(&mut index, 2_001, mkdir(key(5), 1, "a")), Anomaly::DuplicateMkdir);
    assert_eq!(index.instance(key(5)).unwrap().creation.boot_ns, 2_000);
    plain(&mut index, 2_002, rmdir(key(5), 1, "a"));
    assert_eq!(refused(&mut index, 2_003, rmdir(key(5), 1, "a")), Anomaly::DuplicateRmdir);
    assert_eq!(refused(&mut index, 2_004, mkdir(key(5), 1, "a")), Anomaly::MkdirAfterRmdir);
    assert_eq!(index.resolve(UNIFIED, b"/a"), None);
    assert_eq!(index.anomalies().total(), 3);
}

#[test]
fn a_cgroup_may_come_before_its_parent() {
    let mut index = unscanned();
    let change = plain(&mut index, 2_000, mkdir(key(9), 5, "c"));
    assert_eq!(text([&change]), ["mkdir 9 -"]);
    assert_eq!(index.path(key(9)), None);
    plain(&mut index, 2_001, mkdir(key(5), 1, "p"));
    assert_eq!(path(&index, key(9)).as_deref(), Some("/p/c"));
    assert_eq!(index.resolve(UNIFIED, b"/p/c"), Some(key(9)));
    assert_eq!(ids(&index, UNIFIED), [1, 5, 9]);
}

#[test]
fn a_cgroup_of_level_1_is_below_the_root_whatever_its_parent_id() {
    let mut index = empty();
    let what =
        What::Mkdir(Child { key: key(5), parent: CgroupId(0), level: 1, leaf: leaf("a"), by: task(1) });
    assert_eq!(text([&plain(&mut index, 2_000, what)]), ["mkdir 5 /a"]);
}

#[test]
fn the_rmdir_of_a_preexisting_cgroup_is_reported_and_stored() {
    let mut index = unscanned();
    let change = plain(&mut index, 2_000, rmdir(key(5), 1, "a"));
    assert_eq!(text([&change]), ["rmdir 5 /a"]);
    assert_eq!(ended(&change), (before(1_000), 2_000, Some(actor(200, "/"))));
    // The parent is known from its own rmdir only.
    assert_eq!(text([&plain(&mut index, 2_001, rmdir(key(6), 5, "b"))]), ["rmdir 6 /a/b"]);
    assert_eq!(text([&plain(&mut index, 2_002, rmdir(key(8), 7, "b"))]), ["rmdir 8 -"]);
}

#[test]
fn the_rmdir_of_an_unknown_cgroup_claims_no_earlier_creation() {
    let mut index = empty();
    let (removed, anomaly) = apply(&mut index, 2_000, rmdir(key(5), 1, "a"));
    assert_eq!((text(&removed), anomaly), (vec!["rmdir 5 /a".into()], Some(Anomaly::UnknownRmdir)));
    assert_eq!(ended(&removed.unwrap()).0, before(2_000));
}

#[test]
fn descendants_of_a_removed_cgroup_have_no_path_until_a_scan_removes_them() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(key(6), 5, "b"));
    plain(&mut index, 2_002, mkdir(key(7), 6, "c"));
    assert_eq!(text([&plain(&mut index, 2_003, rmdir(key(5), 1, "a"))]), ["rmdir 5 /a"]);
    assert_eq!(ids(&index, UNIFIED), [1]);
    assert_eq!((index.path(key(7)), index.resolve(UNIFIED, b"/a/b/c")), (None, None));
    // Changes still report the path.
    assert_eq!(text([&plain(&mut index, 2_004, rmdir(key(7), 6, "c"))]), ["rmdir 7 /a/b/c"]);
    let removed = scan(&mut index, UNIFIED, 2_005, &[]);
    assert_eq!(text(&removed), ["rmdir? 6 /a/b"]);
    assert_eq!((ended(&removed[0]).0.boot_ns, removed[0].boot_ns), (2_001, 2_005));
}

#[test]
fn a_rename_adds_an_unknown_cgroup() {
    let mut index = unscanned();
    let change = plain(&mut index, 2_000, rename(pids(5), 1, "z"));
    assert_eq!((text([&change]), change.from), (vec!["rename 5 /z".into()], None));
    assert_eq!(index.instance(pids(5)).unwrap().creation, before(1_000));
    let mut index = empty();
    let renamed = anomalous(&mut index, 2_000, rename(pids(5), 1, "z"));
    assert_eq!(renamed, ("rename 5 /z".into(), Anomaly::UnknownRename));
    assert_eq!(index.instance(pids(5)).unwrap().creation, before(2_000));
    plain(&mut index, 2_001, rmdir(pids(5), 1, "z"));
    assert_eq!(refused(&mut index, 2_002, rename(pids(5), 1, "y")), Anomaly::UnknownRename);
}

#[test]
fn a_rename_never_moves_to_another_parent() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(pids(6), 1, "b"));
    let renamed = anomalous(&mut index, 2_002, rename(pids(6), 5, "c"));
    assert_eq!(renamed, ("rename 6 /b -> /c".into(), Anomaly::RenameToOtherParent));
}

#[test]
fn no_cgroup_becomes_its_own_ancestor() {
    let mut index = empty();
    assert_eq!(refused(&mut index, 2_000, mkdir(key(5), 5, "a")), Anomaly::InvalidParent);
    plain(&mut index, 2_001, mkdir(key(7), 6, "b"));
    plain(&mut index, 2_002, mkdir(key(8), 7, "c"));
    assert_eq!(refused(&mut index, 2_003, mkdir(key(6), 8, "a")), Anomaly::InvalidParent);
    assert_eq!(refused(&mut index, 2_004, mkdir(key(0), 1, "a")), Anomaly::InvalidParent);
    assert_eq!(refused(&mut index, 2_005, rename(pids(9), 9, "a")), Anomaly::InvalidParent);
}

#[test]
fn events_of_a_root_as_a_child_are_ignored() {
    let mut index = empty();
    for what in [mkdir(key(1), 1, "a"), rmdir(key(1), 1, "a"), rename(key(1), 1, "a")] {
        assert_eq!(refused(&mut index, 2_000, what), Anomaly::RootAsChild);
    }
    assert_eq!(index.resolve(UNIFIED, b"/"), Some(key(1)));
    assert_eq!(index.instance(key(1)).unwrap().creation, before(1_000));
}

#[test]
fn a_truncated_leaf_yields_no_wrong_path() {
    let mut index = empty();
    let short = Leaf { bytes: b"lo".as_slice().into(), truncated: true };
    let make =
        |id| What::Mkdir(Child { key: key(id), parent: ROOT, level: 1, leaf: short.clone(), by: task(1) });
    assert_eq!(text([&plain(&mut index, 2_000, make(5))]), ["mkdir 5 -"]);
    assert_eq!(text([&plain(&mut index, 2_001, make(6))]), ["mkdir 6 -"]);
    assert_eq!(index.resolve(UNIFIED, b"/lo"), None);
    assert!(index.instance(key(5)).unwrap().truncated);
    plain(&mut index, 2_002, mkdir(key(7), 5, "c"));
    index.set_leaf(key(5), b"long");
    index.set_leaf(key(6), b"a/b");
    assert_eq!(index.check_invariants(), Ok(()));
    assert_eq!(path(&index, key(7)).as_deref(), Some("/long/c"));
    assert_eq!(index.resolve(UNIFIED, b"/long/c"), Some(key(7)));
    assert_eq!(index.path(key(6)), None);
    index.set_leaf(key(5), b"other");
    assert_eq!(path(&index, key(5)).as_deref(), Some("/long"));
}

#[test]
fn setting_a_leaf_takes_no_name_from_a_later_cgroup() {
    let mut index = empty();
    let short = Leaf { bytes: b"lo".as_slice().into(), truncated: true };
    plain(
        &mut index,
        1,
        What::Mkdir(Child { key: key(5), parent: ROOT, level: 1, leaf: short, by: task(1) }),
    );
    plain(&mut index, 2, mkdir(key(6), 1, "long"));
    index.set_leaf(key(5), b"long");
    assert_eq!(index.resolve(UNIFIED, b"/long"), Some(key(6)));
    assert_eq!(path(&index, key(5)).as_deref(), Some("/long"));
}

#[test]
fn an_invalid_name_does_not_resolve() {
    let mut index = empty();
    for (id, name) in (5..).zip(["", ".", "..", "a/b", "a\nb", "a\0b"]) {
        let (text, anomaly) = anomalous(&mut index, 2_000, mkdir(key(id), 1, name));
        assert_eq!((text, anomaly), (format!("mkdir {id} -"), Anomaly::InvalidLeaf), "{name:?}");
        assert_eq!(index.path(key(id)), None);
    }
    for (id, name) in (20..).zip(["...", "a b", "\u{1b}[1m", "x (deleted)", "\\", "cpu.max"]) {
        plain(&mut index, 2_000, mkdir(key(id), 1, name));
        assert_eq!(index.resolve(UNIFIED, format!("/{name}").as_bytes()), Some(key(id)));
    }
}

#[test]
fn a_loss_creates_a_gap() {
    let mut index = empty();
    assert_eq!(index.last_gap(UNIFIED), None);
    let lost = index.lost(3_000, 4, Some(PIDS));
    assert_eq!((lost.kind, lost.lost, lost.boot_ns), (Kind::Lost, Some(4), 3_000));
    assert_eq!(lost.cgroup.unwrap().hierarchy, PIDS);
    assert_eq!(index.last_gap(UNIFIED), None);
    // No time was confirmed as complete.
    let gap = |from_boot_ns, to_boot_ns, missed| Some(Gap { from_boot_ns, to_boot_ns, lost: missed });
    assert_eq!(index.last_gap(PIDS), gap(1_000, 3_000, 4));
    let resynced = index.resynced(3_100, None);
    assert_eq!((resynced.kind, resynced.cgroup, resynced.seq), (Kind::Resynced, None, lost.seq + 1));
    index.complete_until(3_200);
    index.lost(3_300, 1, None);
    assert_eq!(index.last_gap(UNIFIED), gap(3_200, 3_300, 1));
    assert_eq!(index.last_gap(PIDS), gap(3_200, 3_300, 1));
    index.lost(3_400, 2, None);
    assert_eq!(index.last_gap(PIDS), gap(3_300, 3_400, 2));
}

#[test]
fn a_tree_may_have_1500_levels() {
    let mut index = empty();
    let levels = 1_500_u64;
    for level in 1..=levels {
        index.apply(&cgtrace::daemon::index::Event {
            boot_ns: 2_000,
            what: mkdir(key(level + 1), level, "abcde"),
        });
    }
    assert_eq!(index.check_invariants(), Ok(()));
    let deepest = index.path(key(levels + 1)).unwrap();
    assert_eq!(deepest.len(), 9_000);
    assert_eq!(index.resolve(UNIFIED, &deepest), Some(key(levels + 1)));
    assert_eq!(index.subtree(key(1)).count(), 1_501);
    let ends = scan(&mut index, UNIFIED, 3_000, &[]);
    assert_eq!(ends.len(), 1_500);
    assert_eq!(ends[0].cgroup.as_ref().unwrap().path.as_deref(), Some(&*deepest));
}
