//! Arbitrary calls that neither a kernel nor a tracker would make: none panics, and the invariants hold.

use std::collections::BTreeSet;

use cgtrace::daemon::index::{
    CgroupId, Change, Child, Event, Hierarchy, HierarchyId, Index, Key, Kind, Leaf, Scanned, Task, What,
};
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub enum Call {
    Apply(Event),
    Know(Hierarchy, u64),
    Forget(HierarchyId, u64),
    Begin(HierarchyId),
    Abandon(HierarchyId),
    Merge { hierarchy: HierarchyId, found: Vec<Scanned>, complete: bool, at: u64 },
    Lost(u64, u64, Option<HierarchyId>),
    Resynced(u64, Option<HierarchyId>),
    CompleteUntil(u64),
    SetLeaf(Key, Vec<u8>),
    LimitDying(usize),
}

/// The maximum bytes of dying cgroups, if it is not the usual one, and the calls.
pub fn calls() -> impl Strategy<Value = (Option<usize>, Vec<Call>)> {
    (prop::option::of(0..3_000_usize), prop::collection::vec(call(), 1..60))
}

fn call() -> impl Strategy<Value = Call> {
    let found = prop::collection::vec((id(), id(), name()), 0..8).prop_map(|found| {
        found.into_iter().map(|(id, parent, leaf)| Scanned { id, parent, leaf: leaf.into() }).collect()
    });
    prop_oneof![
        40 => (time(), what()).prop_map(|(boot_ns, what)| Call::Apply(Event { boot_ns, what })),
        2 => (hierarchy(), time()).prop_map(|(hierarchy, at)| Call::Know(hierarchy, at)),
        1 => (hierarchy_id(), time()).prop_map(|(id, at)| Call::Forget(id, at)),
        6 => hierarchy_id().prop_map(Call::Begin),
        1 => hierarchy_id().prop_map(Call::Abandon),
        6 => (hierarchy_id(), found, any::<bool>(), time())
            .prop_map(|(hierarchy, found, complete, at)| Call::Merge { hierarchy, found, complete, at }),
        2 => (time(), any::<u64>(), prop::option::of(hierarchy_id()))
            .prop_map(|(at, missed, hierarchy)| Call::Lost(at, missed, hierarchy)),
        1 => (time(), prop::option::of(hierarchy_id())).prop_map(|(at, hierarchy)| Call::Resynced(at, hierarchy)),
        1 => time().prop_map(Call::CompleteUntil),
        3 => (key(), name()).prop_map(|(key, leaf)| Call::SetLeaf(key, leaf)),
        2 => (0..3_000_usize).prop_map(Call::LimitDying),
    ]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0..50_u64, 1 => Just(u64::MAX)]
}

fn id() -> impl Strategy<Value = CgroupId> {
    prop_oneof![30 => 0..8_u64, 1 => Just(u64::MAX)].prop_map(CgroupId)
}

fn hierarchy_id() -> impl Strategy<Value = HierarchyId> {
    (0..3_u32).prop_map(HierarchyId)
}

fn key() -> impl Strategy<Value = Key> {
    (hierarchy_id(), id()).prop_map(|(hierarchy, id)| Key { hierarchy, id })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => prop::sample::select(vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]),
        1 => prop::collection::vec(any::<u8>(), 0..4),
        1 => prop::sample::select(vec![b"".to_vec(), b".".to_vec(), b"..".to_vec(), b"a/b".to_vec()]),
    ]
}

fn task() -> impl Strategy<Value = Task> {
    (0..4_u32, 0..4_u32, 0..3_u64, id()).prop_map(|(pid, tid, start_boot_ns, cgroup)| Task {
        pid,
        tid,
        ppid: 0,
        uid: 0,
        start_boot_ns,
        cgroup,
        comm: [0; 16],
    })
}

fn hierarchy() -> impl Strategy<Value = Hierarchy> {
    let name = prop::sample::select(vec!["v2", "memory", "name=systemd", ""]);
    (hierarchy_id(), name).prop_map(|(id, name)| Hierarchy { id, name: name.into() })
}

fn what() -> impl Strategy<Value = What> {
    let leaf = || {
        (name(), prop::bool::weighted(0.1))
            .prop_map(|(bytes, truncated)| Leaf { bytes: bytes.into(), truncated })
    };
    let level = || prop_oneof![4 => 0..4_u32, 1 => Just(u32::MAX)];
    let child = || {
        (key(), id(), level(), leaf(), task()).prop_map(|(key, parent, level, leaf, by)| Child {
            key,
            parent,
            level,
            leaf,
            by,
        })
    };
    prop_oneof![
        12 => child().prop_map(What::Mkdir),
        6 => child().prop_map(What::Rmdir),
        6 => child().prop_map(What::Rename),
        3 => key().prop_map(|key| What::Release { key }),
        1 => (key(), task(), any::<bool>(), task())
            .prop_map(|(key, task, threadgroup, by)| What::Attach { key, task, threadgroup, by, parent: None }),
        1 => (key(), task(), task()).prop_map(|(key, task, by)| What::Transfer { key, task, by, parent: None }),
        1 => (key(), task(), task()).prop_map(|(key, task, by)| What::Fork { key, task, by, sibling: false }),
        1 => (key(), any::<bool>()).prop_map(|(key, populated)| What::Populated { key, populated }),
        1 => (key(), any::<bool>(), task()).prop_map(|(key, freeze, by)| What::Freeze { key, freeze, by }),
        1 => (key(), any::<bool>()).prop_map(|(key, frozen)| What::Frozen { key, frozen }),
        2 => (hierarchy(), task()).prop_map(|(hierarchy, by)| What::HierarchyCreated { hierarchy, by }),
        1 => hierarchy_id().prop_map(|id| What::HierarchyDestroyed { id }),
        1 => (hierarchy(), task()).prop_map(|(hierarchy, by)| What::Remount { hierarchy, by }),
        1 => (task(), prop::collection::vec(key(), 0..4)).prop_map(|(task, memberships)| What::Exec {
            task,
            memberships: memberships.into(),
        }),
        1 => (task(), prop::collection::vec(task(), 0..4)).prop_map(|(task, ancestors)| What::Ancestry {
            task,
            ancestors: ancestors.into(),
        }),
    ]
}

pub fn run((max_dying, calls): &(Option<usize>, Vec<Call>)) -> Result<(), TestCaseError> {
    let mut index = Index::new();
    if let Some(max_bytes) = max_dying {
        index.limit_dying(*max_bytes);
    }
    let (mut ended, mut released) = (BTreeSet::<Key>::new(), BTreeSet::new());
    let mut seq = 0;
    for call in calls {
        // Only what is dropped can be reported twice.
        if max_dying.is_none() && matches!(call, Call::LimitDying(_)) {
            continue;
        }
        let (changes, named) = take(&mut index, call);
        for change in &changes {
            seq += 1;
            prop_assert_eq!(change.seq, seq, "{:?}", change);
            prop_assert_eq!(change.creation.is_some(), change.kind == Kind::Rmdir, "{:?}", change);
            prop_assert_eq!(change.exec.is_some(), change.kind == Kind::Exec, "{:?}", change);
            let Some(cgroup) = &change.cgroup else { continue };
            let key = Key { hierarchy: cgroup.hierarchy, id: cgroup.id };
            match change.kind {
                Kind::Rmdir => {
                    let twice = !ended.insert(key) && max_dying.is_none();
                    prop_assert!(!twice, "removed twice: {:?}", change);
                }
                // Another hierarchy may have this id now.
                Kind::HierarchyCreated | Kind::HierarchyDestroyed => {
                    released.extend(ended.extract_if(.., |ended| ended.hierarchy == key.hierarchy));
                }
                // No event of a kernel names it again.
                Kind::Release => {
                    ended.remove(&key);
                    released.insert(key);
                }
                _ => {}
            }
        }
        for key in named {
            let is_removed = ended.contains(&key) || released.contains(&key) || max_dying.is_some();
            prop_assert!(is_removed, "{:?} is named, but did not end", key);
        }
        ended.retain(|key| index.instance(*key).is_none());
        prop_assert_eq!(index.seq(), seq);
        prop_assert_eq!(index.check_invariants(), Ok(()), "{:?}", call);
    }
    Ok(())
}

/// Returns the changes, and the cgroups whose paths became known.
fn take(index: &mut Index, call: &Call) -> (Vec<Change>, Vec<Key>) {
    let mut named = Vec::new();
    let mut changes = Vec::new();
    match call {
        Call::Apply(event) => changes.extend(index.apply(event)),
        Call::Know(hierarchy, at) => index.add_hierarchy(hierarchy, *at),
        Call::Forget(id, at) => changes.extend(index.forget_hierarchy(*id, *at)),
        Call::Begin(id) => index.begin_scan(*id),
        Call::Abandon(id) => index.abandon_scan(*id),
        Call::Merge { hierarchy, found, complete, at } => {
            let merged = index.merge_scan(*hierarchy, found.clone(), *complete, *at);
            changes = merged.changes;
            named.extend(merged.named.into_iter().map(|(key, _)| key));
        }
        Call::Lost(at, missed, hierarchy) => changes.push(index.lost(*at, *missed, *hierarchy)),
        Call::Resynced(at, hierarchy) => changes.push(index.resynced(*at, *hierarchy)),
        Call::CompleteUntil(at) => index.complete_until(*at),
        Call::SetLeaf(key, leaf) => index.set_leaf(*key, leaf),
        Call::LimitDying(max_bytes) => index.limit_dying(*max_bytes),
    }
    (changes, named)
}
