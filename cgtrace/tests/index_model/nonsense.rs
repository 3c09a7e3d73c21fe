//! Arbitrary calls that neither a kernel nor a tracker would make: none panics, and the invariants hold.

use cgtrace::daemon::index::{
    CgroupId, Change, Child, Event, Hierarchy, HierarchyId, Index, Key, Leaf, PREVIOUS_PER_PATH,
    PreviousInstance, PreviousLimits, Scanned, Task, What,
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
    Keep(PreviousLimits),
}

pub fn calls() -> impl Strategy<Value = (PreviousLimits, Vec<Call>)> {
    (limits(), prop::collection::vec(call(), 1..60))
}

fn limits() -> impl Strategy<Value = PreviousLimits> {
    (0..3_000_usize).prop_map(|max_previous_bytes| PreviousLimits { max_previous_bytes })
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
        2 => limits().prop_map(Call::Keep),
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
        1 => key().prop_map(|key| What::Release { key }),
        1 => (key(), task(), any::<bool>(), task())
            .prop_map(|(key, task, threadgroup, by)| What::Attach { key, task, threadgroup, by }),
        1 => (key(), task(), task()).prop_map(|(key, task, by)| What::Transfer { key, task, by }),
        1 => (key(), task(), task()).prop_map(|(key, task, by)| What::Fork { key, task, by }),
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
    ]
}

pub fn run((limits, calls): &(PreviousLimits, Vec<Call>)) -> Result<(), TestCaseError> {
    let mut limits = *limits;
    let mut index = Index::new(limits);
    let mut seq = 0;
    for call in calls {
        if let Call::Keep(others) = call {
            limits = *others;
        }
        for change in take(&mut index, call) {
            seq += 1;
            prop_assert_eq!(change.seq, seq, "{:?}", change);
        }
        prop_assert_eq!(index.seq(), seq);
        prop_assert_eq!(index.check_invariants(), Ok(()), "{:?}", call);
        check_past(&index, limits)?;
    }
    Ok(())
}

fn take(index: &mut Index, call: &Call) -> Vec<Change> {
    match call {
        Call::Apply(event) => index.apply(event).into_iter().collect(),
        Call::Know(hierarchy, at) => {
            index.add_hierarchy(hierarchy, *at);
            Vec::new()
        }
        Call::Forget(id, at) => index.forget_hierarchy(*id, *at).into_iter().collect(),
        Call::Begin(id) => {
            index.begin_scan(*id);
            Vec::new()
        }
        Call::Abandon(id) => {
            index.abandon_scan(*id);
            Vec::new()
        }
        Call::Merge { hierarchy, found, complete, at } => {
            index.merge_scan(*hierarchy, found.clone(), *complete, *at).changes
        }
        Call::Lost(at, missed, hierarchy) => vec![index.lost(*at, *missed, *hierarchy)],
        Call::Resynced(at, hierarchy) => vec![index.resynced(*at, *hierarchy)],
        Call::CompleteUntil(at) => {
            index.complete_until(*at);
            Vec::new()
        }
        Call::SetLeaf(key, leaf) => {
            index.set_leaf(*key, leaf);
            Vec::new()
        }
        Call::Keep(limits) => {
            index.limit_previous(*limits);
            Vec::new()
        }
    }
}

fn check_past(index: &Index, limits: PreviousLimits) -> Result<(), TestCaseError> {
    // Paths and other data of an instance are not counted here.
    let most = limits.max_previous_bytes / size_of::<PreviousInstance>();
    prop_assert!(index.hierarchies().map(|state| state.previous_instances).sum::<usize>() <= most);
    for hierarchy in (0..3).map(HierarchyId) {
        for path in [&b"/a"[..], b"/b", b"/a/b", b"/a/b/c"] {
            let instances: Vec<_> = index.previous_instances(hierarchy, path).collect();
            prop_assert!(instances.len() <= PREVIOUS_PER_PATH);
            prop_assert!(instances.is_sorted_by(|one, other| one.removed_boot_ns >= other.removed_boot_ns));
        }
    }
    Ok(())
}
