//! Hierarchies created, remounted and destroyed.

use crate::apply::ids;
use crate::script::{
    PIDS, anomalous, apply, empty, hierarchy, key, last_path, mkdir, pids, plain, refused, rmdir, scanned,
    task, text, unscanned,
};
use cgtrace::daemon::index::{Anomaly, HierarchyId, Index, MergeOutcome, Origin, ROOT, UNIFIED, What};

#[test]
fn an_event_of_an_unknown_hierarchy_adds_it() {
    let mut index = Index::new();
    let (change, anomaly) = apply(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    assert_eq!(anomaly, Some(Anomaly::UnknownHierarchy));
    assert_eq!(change.unwrap().cgroup.unwrap().hierarchy_name, None);
    let state = index.hierarchy(PIDS).unwrap();
    assert_eq!((state.name, state.observed_since_boot_ns, state.scanned), (None, 2_000, false));
    // Its name, and an earlier start of observation, are set later.
    index.add_hierarchy(&hierarchy(PIDS, "pids"), 1_000);
    index.add_hierarchy(&hierarchy(PIDS, "pids"), 500);
    let state = index.hierarchy(PIDS).unwrap();
    assert_eq!((state.name.as_deref(), state.observed_since_boot_ns), (Some("pids"), 1_000));
    assert_eq!(index.resolve(PIDS, b"/a"), Some(pids(5)));
    // Events of the activity ring may be late, and so add nothing.
    let late = What::Populated {
        key: cgtrace::daemon::index::Key { hierarchy: HierarchyId(9), id: ROOT },
        populated: false,
    };
    assert_eq!(text([&plain(&mut index, 2_001, late)]), ["empty 1 /"]);
    assert_eq!(index.hierarchies().count(), 1);
}

#[test]
fn the_default_hierarchy_always_has_its_name() {
    let mut index = Index::new();
    apply(&mut index, 2_000, mkdir(key(5), 1, "a"));
    assert_eq!(index.hierarchy(UNIFIED).unwrap().name.as_deref(), Some("v2"));
    assert_eq!(index.find_hierarchy("v2"), Some(UNIFIED));
}

#[test]
fn a_created_hierarchy_is_observed_from_its_creation() {
    let mut index = empty();
    let added = What::HierarchyCreated { hierarchy: hierarchy(HierarchyId(9), "name=x"), by: task(4) };
    let change = plain(&mut index, 2_000, added.clone());
    assert_eq!(text([&change]), ["hierarchy-created 1 /"]);
    let state = index.hierarchy(HierarchyId(9)).unwrap();
    assert_eq!((state.observed_since_boot_ns, state.scanned, state.cgroups), (2_000, true, 1));
    let root = cgtrace::daemon::index::Key { hierarchy: HierarchyId(9), id: ROOT };
    assert_eq!(index.instance(root).unwrap().creation.origin, Origin::Observed);
    assert_eq!(refused(&mut index, 2_001, added), Anomaly::DuplicateHierarchy);
    assert_eq!(index.find_hierarchy("name=x"), Some(HierarchyId(9)));
}

#[test]
fn a_hierarchy_known_from_proc_is_not_replaced_by_its_event() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    let added = What::HierarchyCreated { hierarchy: hierarchy(PIDS, "pids"), by: task(4) };
    plain(&mut index, 2_001, added);
    assert_eq!(index.resolve(PIDS, b"/a"), Some(pids(5)));
    assert_eq!(index.instance(pids(1)).unwrap().creation.origin, Origin::Observed);
}

#[test]
fn a_hierarchy_with_a_reused_id_inherits_nothing() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(pids(6), 1, "b"));
    plain(&mut index, 2_002, rmdir(pids(5), 1, "a"));
    index.begin_scan(PIDS);
    assert_eq!(
        text([&plain(&mut index, 2_003, What::HierarchyDestroyed { id: PIDS })]),
        ["hierarchy-destroyed 1 /"]
    );
    assert_eq!(index.resolve(PIDS, b"/"), None);
    assert_eq!((last_path(&mut index, pids(5)), index.hierarchies().count()), (None, 1));
    plain(&mut index, 2_004, What::HierarchyCreated { hierarchy: hierarchy(PIDS, "memory"), by: task(4) });
    // The scan was of the destroyed hierarchy.
    assert_eq!(index.merge_scan(PIDS, [scanned(6, 1, "b")], true, 2_005), MergeOutcome::default());
    assert_eq!(index.anomalies().of(Anomaly::ScanNotBegun), 1);
    assert_eq!(ids(&index, PIDS), [1]);
    plain(&mut index, 2_006, mkdir(pids(5), 1, "a"));
    let replaced = What::HierarchyCreated { hierarchy: hierarchy(PIDS, "cpu"), by: task(4) };
    assert_eq!(
        anomalous(&mut index, 2_007, replaced),
        ("hierarchy-created 1 /".into(), Anomaly::DuplicateHierarchy)
    );
    assert_eq!((ids(&index, PIDS), index.hierarchy(PIDS).unwrap().created), (vec![1], 0));
    assert_eq!(last_path(&mut index, pids(5)), None);
}

#[test]
fn a_hierarchy_destroyed_without_an_event_is_forgotten() {
    let mut index = unscanned();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    plain(&mut index, 2_001, rmdir(pids(5), 1, "a"));
    let change = index.forget_hierarchy(PIDS, 3_000);
    assert_eq!(text(change.as_ref()), ["hierarchy-destroyed? 1 /"]);
    assert_eq!(change.unwrap().cgroup.unwrap().hierarchy_name.as_deref(), Some("pids"));
    assert_eq!(index.forget_hierarchy(PIDS, 3_001), None);
    assert_eq!((index.hierarchy(PIDS), last_path(&mut index, pids(5))), (None, None));
    let late = anomalous(&mut index, 3_002, What::HierarchyDestroyed { id: PIDS });
    assert_eq!(late, ("hierarchy-destroyed 1 /".into(), Anomaly::UnknownRoot));
}

#[test]
fn a_remount_changes_the_name() {
    let mut index = empty();
    let what = What::Remount { hierarchy: hierarchy(PIDS, "pids,name=x"), by: task(4) };
    let change = plain(&mut index, 2_000, what);
    assert_eq!(change.cgroup.unwrap().hierarchy_name.as_deref(), Some("pids,name=x"));
    assert_eq!(index.find_hierarchy("name=x"), Some(PIDS));
}
