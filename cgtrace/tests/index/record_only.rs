//! Events that are recorded only: tasks and states.

use std::rc::Rc;

use crate::script::{anomalous, empty, hierarchy, key, mkdir, pids, plain, rmdir, task, text};
use cgtrace::daemon::index::{Anomaly, CgroupId, Change, HierarchyId, Kind, Task, What};

#[test]
fn an_attach_reports_the_previous_cgroup_only_if_known() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(key(6), 1, "b"));
    let attach =
        |id| What::Attach { key: key(id), task: task(40), threadgroup: true, by: task(1), parent: None };
    let from = |change: &Change| change.from.as_ref().map(|from| (from.id.0, from.path.clone().unwrap()));
    let first = plain(&mut index, 2_002, attach(5));
    assert_eq!((from(&first), first.threadgroup), (None, Some(true)));
    assert_eq!(first.task.as_deref(), Some(&task(40)));
    assert_eq!(text([&first]), ["attach 5 /a"]);
    assert_eq!(from(&plain(&mut index, 2_003, attach(6))), Some((5, Rc::from(&b"/a"[..]))));
    let again = plain(&mut index, 2_004, attach(6));
    assert_eq!(again.from, again.cgroup);
    // The loss may include a move.
    index.lost(2_005, 1, None);
    assert_eq!(from(&plain(&mut index, 2_006, attach(5))), None);
}

#[test]
fn a_child_is_forked_from_its_parents_cgroup() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(key(6), 1, "b"));
    let parent = Task { cgroup: CgroupId(5), ..task(1) };
    let change =
        plain(&mut index, 2_002, What::Fork { key: key(6), task: task(40), by: parent, sibling: false });
    assert_eq!(text([&change]), ["fork 6 /b"]);
    assert_eq!(change.from.unwrap().path.as_deref(), Some(&b"/a"[..]));
    let by = change.by.unwrap();
    assert_eq!((*by.task, by.cgroup.as_deref()), (parent, Some(&b"/a"[..])));
    let attach = What::Attach { key: key(5), task: task(40), threadgroup: true, by: parent, parent: None };
    assert_eq!(plain(&mut index, 2_003, attach).from.unwrap().id, CgroupId(6));
}

#[test]
fn a_transfer_is_of_one_task() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(pids(5), 1, "a"));
    let attach = What::Attach { key: pids(5), task: task(40), threadgroup: true, by: task(1), parent: None };
    plain(&mut index, 2_001, attach);
    let change =
        plain(&mut index, 2_002, What::Transfer { key: pids(1), task: task(40), by: task(2), parent: None });
    assert_eq!(text([&change]), ["transfer 1 /"]);
    assert_eq!((change.from.unwrap().id, change.threadgroup), (CgroupId(5), None));
}

#[test]
fn each_state_has_its_kind() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    let (key, by) = (key(5), task(1));
    for (what, kind) in [
        (What::Populated { key, populated: true }, Kind::Populated),
        (What::Populated { key, populated: false }, Kind::Empty),
        (What::Freeze { key, freeze: true, by }, Kind::Freeze),
        (What::Freeze { key, freeze: false, by }, Kind::Thaw),
        (What::Frozen { key, frozen: true }, Kind::Frozen),
        (What::Frozen { key, frozen: false }, Kind::Thawed),
    ] {
        let change = plain(&mut index, 2_001, what);
        assert_eq!((change.kind, text([&change])), (kind, vec![format!("{} 5 /a", kind.as_str())]));
        assert_eq!(change.by.is_some(), matches!(kind, Kind::Freeze | Kind::Thaw));
    }
}

#[test]
fn a_late_event_has_the_last_path() {
    let mut index = empty();
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_001, rmdir(key(5), 1, "a"));
    let late = What::Populated { key: key(5), populated: false };
    assert_eq!(text([&plain(&mut index, 2_002, late)]), ["empty 5 /a"]);
    let unknown = plain(&mut index, 2_003, What::Populated { key: key(9), populated: false });
    assert_eq!(text([&unknown]), ["empty 9 -"]);
    let unknown = anomalous(&mut index, 2_004, What::Populated { key: key(9), populated: true });
    assert_eq!(unknown, ("populated 9 -".into(), Anomaly::UnknownCgroup));
}

#[test]
fn an_exec_reports_the_cgroup_of_the_process() {
    let mut index = empty();
    index.add_hierarchy(&hierarchy(HierarchyId(1), "name=systemd"), 1_000);
    let systemd = cgtrace::daemon::index::Key { hierarchy: HierarchyId(1), id: CgroupId(8) };
    plain(&mut index, 2_000, mkdir(key(5), 1, "a"));
    plain(&mut index, 2_001, mkdir(systemd, 1, "s"));
    let exec = |memberships: &[_]| What::Exec { task: task(40), memberships: memberships.into() };
    let change = plain(&mut index, 2_002, exec(&[pids(1), systemd, key(5)]));
    assert_eq!((text([&change]), change.task.as_deref()), (vec!["exec 5 /a".into()], Some(&task(40))));
    // Where v2 is unused, every process is in its root.
    assert_eq!(text([&plain(&mut index, 2_003, exec(&[key(1), systemd]))]), ["exec 8 /s"]);
    assert_eq!(text([&plain(&mut index, 2_004, exec(&[pids(1)]))]), ["exec 1 /"]);
    assert_eq!(text([&plain(&mut index, 2_005, exec(&[]))]), ["exec 1 /"]);
    let attach = What::Attach { key: systemd, task: task(40), threadgroup: true, by: task(1), parent: None };
    assert_eq!(plain(&mut index, 2_006, attach).from.unwrap().id, CgroupId(8));
}
