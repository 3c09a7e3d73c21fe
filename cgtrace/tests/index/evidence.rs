//! Inference of missed changes from events.

use cgtrace::daemon::index::{CgroupId, Child, Event, Index, Key, Kind, UNIFIED, What};

use crate::script::{
    apply, empty, ended, key, leaf, mkdir, path, pids, plain, rename, rmdir, scanned, task, text, unscanned,
};

fn event(what: What) -> Event {
    Event { boot_ns: 3_000, what }
}

/// The changes that an event proves, then its own.
fn infer_and_apply(index: &mut Index, what: What) -> Vec<String> {
    let mut changes = index.infer_missed(&event(what.clone()));
    assert_eq!(index.check_invariants(), Ok(()));
    assert!(changes.iter().all(|change| change.inferred && change.boot_ns == 3_000));
    for change in changes.iter().filter(|change| change.kind == Kind::Rmdir) {
        assert_eq!((ended(change).0.boot_ns, ended(change).2), (2_000, None));
    }
    changes.extend(apply(index, 3_000, what).0);
    text(&changes)
}

fn events_naming(key: Key) -> [What; 6] {
    let (by, task) = (task(1), task(40));
    [
        What::Attach { key, task, threadgroup: true, by, parent: None },
        What::Transfer { key, task, by, parent: None },
        What::Fork { key, task, by, sibling: false },
        What::Populated { key, populated: true },
        What::Freeze { key, freeze: true, by },
        What::Exec { task, memberships: [key].into() },
    ]
}

#[test]
fn a_cgroup_in_use_exists() {
    let mut index = empty();
    for what in events_naming(key(5)) {
        assert_eq!(index.missed_mkdirs(&event(what.clone())), [key(5)], "{what:?}");
    }
    let found = [scanned(4, 1, "a"), scanned(5, 4, "b")];
    assert_eq!(text(&index.insert_missed(UNIFIED, found, 3_000)), ["mkdir? 4 /a", "mkdir? 5 /a/b"]);
    assert_eq!(index.check_invariants(), Ok(()));
    assert_eq!((path(&index, key(5)), index.instance(key(5)).unwrap().level), (Some("/a/b".into()), 2));
    for what in events_naming(key(5)) {
        assert_eq!(index.missed_mkdirs(&event(what)), []);
    }
    assert_eq!(text([&plain(&mut index, 3_001, events_naming(key(5))[0].clone())]), ["attach 5 /a/b"]);
}

#[test]
fn the_parent_of_a_created_removed_or_renamed_cgroup_exists() {
    let index = empty();
    for what in [mkdir(key(6), 5, "x"), rmdir(key(6), 5, "x"), rename(key(6), 5, "x")] {
        assert_eq!(index.missed_mkdirs(&event(what)), [key(5)]);
    }
    let what =
        What::Mkdir(Child { key: key(6), parent: CgroupId(5), level: 1, leaf: leaf("x"), by: task(1) });
    assert_eq!(index.missed_mkdirs(&event(what)), []);
}

#[test]
fn some_events_prove_nothing() {
    let mut index = empty();
    let (of, key) = (key, key(5));
    for what in [
        What::Populated { key, populated: false },
        What::Frozen { key, frozen: true },
        What::Frozen { key, frozen: false },
        What::Release { key },
    ] {
        assert_eq!(index.missed_mkdirs(&event(what.clone())), []);
        assert_eq!(index.infer_missed(&event(what)), []);
    }
    // Nor does a late event, nor any event of an unscanned hierarchy.
    plain(&mut index, 2_000, mkdir(key, 1, "a"));
    plain(&mut index, 2_001, rmdir(key, 1, "a"));
    for what in events_naming(key) {
        assert_eq!(index.missed_mkdirs(&event(what.clone())), []);
        assert_eq!(unscanned().missed_mkdirs(&event(what)), []);
    }
    assert_eq!(index.insert_missed(UNIFIED, [scanned(5, 1, "a")], 3_000), []);
    assert!(index.instance(of(5)).is_none());
}

#[test]
fn a_release_or_reuse_of_the_name_proves_an_rmdir() {
    let mut index = empty();
    for (id, parent, name) in [(5, 1, "a"), (6, 5, "b"), (7, 6, "c")] {
        plain(&mut index, 2_000, mkdir(key(id), parent, name));
    }
    let released = infer_and_apply(&mut index, What::Release { key: key(6) });
    assert_eq!(released, ["rmdir? 7 /a/b/c", "rmdir? 6 /a/b", "release 6 /a/b"]);
    assert_eq!(infer_and_apply(&mut index, mkdir(key(9), 1, "a")), ["rmdir? 5 /a", "mkdir 9 /a"]);
    // A late mkdir takes no name from a younger cgroup.
    assert_eq!(infer_and_apply(&mut index, mkdir(key(8), 1, "a"))[..], ["mkdir 8 /a"]);
}

#[test]
fn an_rmdir_proves_the_rmdirs_of_all_descendants() {
    let mut index = empty();
    for (id, parent, name) in [(5, 1, "a"), (6, 5, "b"), (7, 6, "c")] {
        plain(&mut index, 2_000, mkdir(key(id), parent, name));
    }
    let removed = infer_and_apply(&mut index, rmdir(key(5), 1, "a"));
    assert_eq!(removed, ["rmdir? 7 /a/b/c", "rmdir? 6 /a/b", "rmdir 5 /a"]);
}

#[test]
fn a_rename_proves_a_mkdir() {
    let mut index = empty();
    let renamed = infer_and_apply(&mut index, rename(pids(5), 1, "z"));
    assert_eq!(renamed, ["mkdir? 5 /z", "rename 5 /z"]);
}

#[test]
fn a_reused_name_on_v1_is_ambiguous() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    let again = event(mkdir(pids(6), 1, "a"));
    assert_eq!((index.infer_missed(&again), index.ambiguous_name(&again)), (vec![], Some(pids(5).hierarchy)));
    assert_eq!(index.ambiguous_name(&event(mkdir(pids(6), 1, "b"))), None);
}
