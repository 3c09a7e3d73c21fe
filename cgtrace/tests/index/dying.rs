//! Cgroups that were removed, but not released yet.

use cgtrace::daemon::index::{Anomaly, Change, Event, Index, Key, Origin, UNIFIED, What};

use crate::script::{
    PIDS, apply, empty, ended, key, last_path, mkdir, pids, plain, refused, rename, rmdir, scan, scanned,
    task, text, unscanned,
};

fn release(key: Key) -> What {
    What::Release { key }
}

/// Applies an event after what it proves.
fn infer_and_apply(index: &mut Index, boot_ns: u64, what: What) -> Vec<Change> {
    let mut changes = index.infer_missed(&Event { boot_ns, what: what.clone() });
    changes.extend(apply(index, boot_ns, what).0);
    changes
}

#[test]
fn a_release_removes_no_other_cgroup() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_002, rmdir(key(5), 1, "a"));
    plain(&mut index, 2_003, mkdir(key(6), 1, "a"));
    assert_eq!(text([&plain(&mut index, 2_004, What::Release { key: key(5) })]), ["release 5 /a"]);
    assert_eq!(index.resolve(UNIFIED, b"/a"), Some(key(6)));
    // A cgroup whose mkdir(2) failed has no mkdir event.
    assert_eq!(text([&plain(&mut index, 2_005, What::Release { key: key(99) })]), ["release 99 -"]);
}

#[test]
fn a_release_is_the_last_event_that_has_the_path() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_001, rmdir(key(5), 1, "a"));
    assert_eq!(last_path(&mut index, key(5)).as_deref(), Some("/a"));
    assert_eq!(text([&plain(&mut index, 2_002, release(key(5)))]), ["release 5 /a"]);
    assert_eq!(last_path(&mut index, key(5)), None);
}

#[test]
fn the_oldest_removals_are_dropped_beyond_4_mib() {
    let mut index = empty();
    let name = |id: u64| format!("{id:0>4000}");
    for id in 10..6_010 {
        for what in [mkdir(key(id), 1, &name(id)), rmdir(key(id), 1, &name(id))] {
            index.apply(&Event { boot_ns: 2_000 + id, what });
        }
    }
    assert_eq!(index.check_invariants(), Ok(()));
    let kept: Vec<_> = (10..6_010).filter(|id| last_path(&mut index, key(*id)).is_some()).collect();
    assert!((800..1_050).contains(&kept.len()), "{}", kept.len());
    assert!(kept.iter().copied().eq(6_010 - kept.len() as u64..6_010), "the newest");
    // What is dropped is not taken for live, and what exists is not affected.
    assert_eq!(index.subtree(key(1)).count(), 1);
    index.limit_dying(0);
    assert_eq!((last_path(&mut index, key(6_009)), index.check_invariants()), (None, Ok(())));
}

#[test]
fn an_rmdir_after_its_release_is_not_reported_again() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    let released = infer_and_apply(&mut index, 2_001, release(key(5)));
    assert_eq!(text(&released), ["rmdir? 5 /a", "release 5 /a"]);
    let (creation, removed, by) = ended(&released[0]);
    assert_eq!((creation.boot_ns, creation.origin, removed, by), (2_000, Origin::Observed, 2_001, None));
    assert_eq!(refused(&mut index, 2_002, rmdir(key(5), 1, "a")), Anomaly::DuplicateRmdir);
    assert_eq!(refused(&mut index, 2_003, mkdir(key(5), 1, "a")), Anomaly::MkdirAfterRmdir);
    // An unknown cgroup: the rmdir is all that is known of it.
    let mut index = unscanned();
    plain(&mut index, 2_000, release(key(5)));
    assert_eq!(text([&plain(&mut index, 2_001, rmdir(key(5), 1, "a"))]), ["rmdir 5 /a"]);
}

#[test]
fn a_wrongly_inferred_removal_is_undone_with_the_creation() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    assert_eq!(text(&scan(&mut index, PIDS, 2_001, &[])), ["rmdir? 5 /a"]);
    assert_eq!(text(&scan(&mut index, PIDS, 2_002, &[scanned(5, 1, "b")])), ["mkdir? 5 /b"]);
    let creation = index.instance(pids(5)).unwrap().creation;
    assert_eq!((creation.boot_ns, creation.origin, creation.by.is_some()), (2_000, Origin::Observed, true));
}

#[test]
fn a_scan_begun_before_a_release_does_not_undo_the_removal() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    assert_eq!(text(&scan(&mut index, PIDS, 2_001, &[])), ["rmdir? 5 /a"]);
    // This scan found the cgroup; then its rmdir was missed.
    index.begin_scan(PIDS);
    plain(&mut index, 2_002, release(pids(5)));
    assert_eq!(index.merge_scan(PIDS, [scanned(5, 1, "a")], true, 2_003).changes, []);
    assert_eq!((index.instance(pids(5)), index.check_invariants()), (None, Ok(())));
    // Nor does a later one, which no kernel would make.
    assert_eq!(scan(&mut index, PIDS, 2_004, &[scanned(5, 1, "a")]), []);
}

#[test]
fn an_initial_scan_does_not_insert_a_cgroup_released_meanwhile() {
    for removed in [false, true] {
        let mut index = unscanned();
        index.begin_scan(UNIFIED);
        if removed {
            plain(&mut index, 2_000, rmdir(key(5), 1, "a"));
        }
        plain(&mut index, 2_001, release(key(5)));
        let merged = index.merge_scan(UNIFIED, [scanned(5, 1, "a"), scanned(6, 1, "b")], true, 2_002);
        assert_eq!((merged.changes, merged.named), (vec![], vec![]));
        assert_eq!((index.is_known(UNIFIED, key(5).id), index.is_known(UNIFIED, key(6).id)), (false, true));
        assert_eq!((last_path(&mut index, key(5)), index.check_invariants()), (None, Ok(())));
    }
}

/// Children are removed before their parents, whose names only the scan or their own rmdirs have.
#[test]
fn paths_that_a_scan_completes_are_returned() {
    let mut index = unscanned();
    index.begin_scan(UNIFIED);
    let removed = plain(&mut index, 2_000, rmdir(key(8), 7, "c"));
    let below_removed = plain(&mut index, 2_001, rmdir(key(6), 5, "b"));
    assert_eq!(text([&removed, &below_removed]), ["rmdir 8 -", "rmdir 6 -"]);
    assert_eq!(text([&plain(&mut index, 2_002, rmdir(key(5), 1, "a"))]), ["rmdir 5 /a"]);
    // All are released before the merge.
    for id in [8, 6, 5] {
        plain(&mut index, 2_003, release(key(id)));
    }
    let merged = index.merge_scan(UNIFIED, [scanned(7, 1, "p")], true, 2_004);
    let named: Vec<_> = merged.named.iter().map(|(key, path)| (*key, &**path)).collect();
    assert_eq!(named, [(key(6), &b"/a/b"[..]), (key(8), b"/p/c")]);
    assert_eq!((last_path(&mut index, key(8)), index.check_invariants()), (None, Ok(())));
}

#[test]
fn what_is_released_during_an_abandoned_scan_is_no_longer_dying() {
    for begun_again in [false, true] {
        let mut index = empty();
        plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
        plain(&mut index, 2_001, rmdir(key(5), 1, "a"));
        index.begin_scan(UNIFIED);
        plain(&mut index, 2_002, release(key(5)));
        assert_eq!(last_path(&mut index, key(5)).as_deref(), Some("/a"));
        if begun_again {
            index.begin_scan(UNIFIED);
        } else {
            index.abandon_scan(UNIFIED);
        }
        assert_eq!((last_path(&mut index, key(5)), index.check_invariants()), (None, Ok(())));
    }
}

#[test]
fn the_path_below_a_removed_ancestor_is_known() {
    let mut index = empty();
    for (id, parent, name) in [(5, 1, "a"), (6, 5, "b")] {
        plain(&mut index, 2_000, mkdir(pids(id), parent, name));
    }
    plain(&mut index, 2_001, rename(pids(5), 1, "z"));
    plain(&mut index, 2_002, rmdir(pids(5), 1, "z"));
    let attach = What::Attach { key: pids(6), task: task(40), threadgroup: true, by: task(1), parent: None };
    assert_eq!(text([&plain(&mut index, 2_003, attach)]), ["attach 6 /z/b"]);
}
