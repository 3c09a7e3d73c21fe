use std::{sync::Arc, time::SystemTime};

use cgtrace_common::{CgroupId, HierarchyId, Kind, Task};
use cgtrace_history::GapReason;

use super::*;

const BOOT: &str = "11111111-2222-3333-4444-555555555555";
const PRIVATE: StoredEncoder<'_> = StoredEncoder { current_boot: Some(BOOT), identities: true };
const PUBLIC: StoredEncoder<'_> = StoredEncoder { identities: false, ..PRIVATE };

fn moment(boot_ns: u64) -> Moment {
    Moment { boot_id: Arc::from(BOOT), boot_ns, wall_ns: 1_795_428_300_000_000_000 + boot_ns.cast_signed() }
}

fn cgroup(path: &str) -> StoredCgroup {
    StoredCgroup {
        hierarchy: HierarchyId(0),
        hierarchy_name: Some(Arc::from("v2")),
        id: CgroupId(7),
        path: Some(path.into()),
    }
}

fn task() -> StoredTask {
    let mut comm = [0; 16];
    comm[..7].copy_from_slice(b"systemd");
    let task = Task { pid: 1, tid: 1, ppid: 0, uid: 0, start_boot_ns: 0, cgroup: CgroupId(0), comm };
    StoredTask { task, cgroup: Some(b"/init.scope".to_vec()) }
}

fn event(kind: Kind) -> StoredEvent {
    StoredEvent {
        seq: 3,
        at: moment(5),
        kind,
        cgroup: Some(cgroup("/system.slice/kubelet.service")),
        from: None,
        task: None,
        threadgroup: None,
        by: Some(task()),
        inferred: false,
        lost: None,
    }
}

fn instance(end: Option<End>) -> StoredInstance {
    let creation = StoredCreation { at: moment(1), origin: Origin::Observed, by: Some(task()) };
    StoredInstance { cgroup: cgroup("/a/b"), creation: Some(creation), end }
}

#[test]
fn an_event_has_the_owner_of_its_path_and_names_another_boot_alone() {
    let encoded = PRIVATE.event(&event(Kind::Mkdir));
    assert_eq!(encoded.unit.as_deref(), Some("kubelet.service"));
    assert_eq!(encoded.slice.as_deref(), Some("system.slice"));
    assert_eq!(encoded.by.unwrap().cgroup.as_deref(), Some("/init.scope"));
    assert_eq!(encoded.boot_id, None);
    for other in [None, Some("other")] {
        let encoder = StoredEncoder { current_boot: other, ..PRIVATE };
        assert_eq!(encoder.event(&event(Kind::Mkdir)).boot_id.as_deref(), Some(BOOT));
    }
}

#[test]
fn no_identity_is_public() {
    let mut moved = event(Kind::Attach);
    moved.task = Some(task());
    let encoded = PUBLIC.event(&moved);
    assert_eq!((encoded.by, encoded.task), (None, None));
    let removed = PUBLIC.removed(&instance(Some(End::Event(Box::new(event(Kind::Rmdir)))))).instance;
    assert_eq!((removed.created_by, removed.removed_by), (None, None));
    assert!(removed.removed_at.is_some());
    assert_eq!(PUBLIC.cgroup(&instance(None), None).created_by, None);
    let exec =
        StoredExec { seq: None, at: moment(1), task: task(), cgroups: vec![], ancestors: vec![task()] };
    assert_eq!(PUBLIC.exec(&exec), None);
    assert_eq!(PRIVATE.exec(&exec).unwrap().ancestors.len(), 1);
}

#[test]
fn what_ended_in_a_gap_says_in_which() {
    let gap = Gap {
        reason: GapReason::Stopped,
        after_seq: 4,
        until_seq: 4,
        events: None,
        from: Some(moment(6)),
        until: moment(9),
        uid: None,
    };
    let encoded = PRIVATE.instance(&instance(Some(End::During(gap.clone()))));
    // How it was created is known.
    assert!(!encoded.inferred && encoded.removed_during.is_some());
    assert_eq!(encoded.removed_at.unwrap().boot_ns, 9);
    assert_eq!(StoredEncoder::gap(&gap).to_string(), "no cgtrace daemon ran");
    assert!(StoredEncoder::timestamp(&gap.until).time > SystemTime::UNIX_EPOCH);
}

#[test]
fn a_level_is_the_number_of_components() {
    assert_eq!([&b"/"[..], b"/a", b"/a/b"].map(level), [0, 1, 2]);
}

#[test]
fn what_existed_before_has_no_time_of_creation() {
    let mut older = instance(None);
    older.creation.as_mut().unwrap().origin = Origin::Preexisting;
    let encoded = PRIVATE.instance(&older);
    assert!(encoded.created_at.is_none() && encoded.existed_at.is_some() && !encoded.inferred);
    older.creation = None;
    let encoded = PRIVATE.instance(&older);
    assert!(encoded.created_at.is_none() && encoded.existed_at.is_none());
}
