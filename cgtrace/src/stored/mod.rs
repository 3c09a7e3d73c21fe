//! Encodes what the history returns as wire types: for the daemon's replies, and for commands that read a
//! history without a daemon.

mod fields;

use cgtrace_client::{paths, wire};
use cgtrace_history::{
    End, Gap, Moment, Origin, StoredCgroup, StoredCreation, StoredEvent, StoredExec, StoredInstance,
    StoredTask,
};

pub(crate) use fields::{PathOwner, comm, hierarchy_name, kind, path};

/// Encodes stored types.
#[derive(Clone, Copy, Debug)]
pub struct StoredEncoder<'b> {
    /// The boot whose events carry no boot id; `None`: each carries one.
    pub current_boot: Option<&'b str>,
    /// Whether tasks are shown. The public socket shows none.
    pub identities: bool,
}

/// The fields of an instance about its creation.
#[derive(Default)]
struct CreationFields {
    created_at: Option<wire::Timestamp>,
    existed_at: Option<wire::Timestamp>,
    created_by: Option<wire::Task>,
    inferred: bool,
}

impl StoredEncoder<'_> {
    /// A point in time.
    #[must_use]
    pub fn timestamp(moment: &Moment) -> wire::Timestamp {
        wire::Timestamp::from_unix_ns(i128::from(moment.wall_ns), moment.boot_ns)
    }

    /// What is not stored.
    #[must_use]
    pub fn gap(gap: &Gap) -> wire::Gap {
        wire::Gap {
            reason: gap.reason.as_str().to_owned(),
            from: gap.from.as_ref().map(Self::timestamp),
            until: Self::timestamp(&gap.until),
            lost: gap.events,
            uid: gap.uid,
        }
    }

    /// What is not stored; whose it is only if identities are shown.
    #[must_use]
    pub fn gap_shown(&self, gap: &Gap) -> wire::Gap {
        wire::Gap { uid: gap.uid.filter(|_| self.identities), ..Self::gap(gap) }
    }

    /// A task; `None` if identities are not shown.
    #[must_use]
    pub fn task(&self, stored: &StoredTask) -> Option<wire::Task> {
        let StoredTask { task, cgroup } = stored;
        self.identities.then(|| wire::Task {
            pid: task.pid,
            tid: task.tid,
            ppid: Some(task.ppid),
            comm: comm(&task.comm),
            uid: Some(task.uid),
            start_boot_ns: Some(task.start_boot_ns),
            cgroup: cgroup.as_deref().map(|path| paths::as_text(path).0),
            threadgroup: None,
        })
    }

    fn optional_task(&self, stored: Option<&StoredTask>) -> Option<wire::Task> {
        stored.and_then(|stored| self.task(stored))
    }

    /// An event.
    #[must_use]
    pub fn event(&self, event: &StoredEvent) -> wire::Event {
        let StoredEvent { seq, at, kind, cgroup, from, task, threadgroup, by, inferred, lost } = event;
        let cgroup = cgroup.as_ref();
        let bytes = cgroup.and_then(|cgroup| cgroup.path.as_deref());
        let (path_text, path_hex) = path(bytes);
        let PathOwner { unit, slice, pod_uid, qos, container_id, runtime } =
            bytes.map(PathOwner::of).unwrap_or_default();
        let wire::Timestamp { time, boot_ns } = Self::timestamp(at);
        wire::Event {
            seq: *seq,
            time,
            boot_ns,
            kind: fields::kind(*kind),
            hierarchy: cgroup.map(hierarchy),
            hierarchy_id: cgroup.map(|cgroup| cgroup.hierarchy.0),
            id: cgroup.map(|cgroup| cgroup.id.0),
            path: path_text,
            path_hex,
            unit,
            slice,
            pod_uid,
            qos,
            container_id,
            runtime,
            from: from.as_ref().map(cgroup_ref),
            task: self
                .optional_task(task.as_ref())
                .map(|task| wire::Task { threadgroup: *threadgroup, ..task }),
            by: self.optional_task(by.as_ref()),
            lost: *lost,
            inferred: *inferred,
            boot_id: (self.current_boot != Some(&*at.boot_id)).then(|| at.boot_id.to_string()),
        }
    }

    /// An instance, current or previous.
    #[must_use]
    pub fn instance(&self, instance: &StoredInstance) -> wire::Instance {
        let StoredInstance { cgroup, creation, end } = instance;
        let (path, path_hex) = path(cgroup.path.as_deref());
        let CreationFields { created_at, existed_at, created_by, inferred } =
            self.creation(creation.as_ref());
        let (removed_at, removed_by, removed_during, end_inferred) = match end {
            Some(End::Event(event)) => {
                let by = self.optional_task(event.by.as_ref());
                (Some(Self::timestamp(&event.at)), by, None, event.inferred)
            }
            // It had been removed when events were stored again.
            Some(End::During(gap)) => {
                (Some(Self::timestamp(&gap.until)), None, Some(self.gap_shown(gap)), false)
            }
            None => (None, None, None, false),
        };
        wire::Instance {
            id: cgroup.id.0,
            path,
            path_hex,
            created_at,
            existed_at,
            created_by,
            removed_at,
            removed_by,
            removed_during,
            inferred: inferred || end_inferred,
        }
    }

    /// An instance that was removed.
    #[must_use]
    pub fn removed(&self, instance: &StoredInstance) -> wire::RemovedCgroup {
        wire::RemovedCgroup {
            hierarchy: hierarchy(&instance.cgroup),
            hierarchy_id: instance.cgroup.hierarchy.0,
            instance: self.instance(instance),
        }
    }

    /// An instance that existed at the time in question, as in a list. Its parent's id is not stored.
    #[must_use]
    pub fn cgroup(&self, instance: &StoredInstance, parent_id: Option<u64>) -> wire::Cgroup {
        let StoredInstance { cgroup, creation, end: _ } = instance;
        let bytes = cgroup.path.as_deref();
        let (path, path_hex) = path(bytes);
        let CreationFields { created_at, existed_at, created_by, inferred: _ } =
            self.creation(creation.as_ref());
        wire::Cgroup {
            hierarchy: hierarchy(cgroup),
            hierarchy_id: cgroup.hierarchy.0,
            id: cgroup.id.0,
            parent_id,
            level: bytes.map_or(0, level),
            path,
            path_hex,
            created_at,
            existed_at,
            created_by,
        }
    }

    /// A process with a tracked name; `None` if identities are not shown.
    #[must_use]
    pub fn exec(&self, exec: &StoredExec) -> Option<wire::Exec> {
        let StoredExec { seq, at, task, cgroups, ancestors } = exec;
        let membership = |cgroup: &StoredCgroup| {
            let path = cgroup.path.as_deref()?;
            Some(wire::Membership { hierarchy: hierarchy(cgroup), path: paths::as_text(path).0 })
        };
        Some(wire::Exec {
            task: self.task(task)?,
            at: Self::timestamp(at),
            observed: seq.is_some(),
            cgroups: cgroups.iter().filter_map(membership).collect(),
            ancestors: ancestors.iter().filter_map(|task| self.task(task)).collect(),
        })
    }

    fn creation(&self, creation: Option<&StoredCreation>) -> CreationFields {
        let Some(StoredCreation { at, origin, by }) = creation else { return CreationFields::default() };
        let at = Some(Self::timestamp(at));
        let (created_at, existed_at) = if *origin == Origin::Preexisting { (None, at) } else { (at, None) };
        CreationFields {
            created_at,
            existed_at,
            created_by: self.optional_task(by.as_ref()),
            inferred: *origin == Origin::Inferred,
        }
    }
}

fn hierarchy(cgroup: &StoredCgroup) -> String {
    hierarchy_name(cgroup.hierarchy_name.as_deref(), cgroup.hierarchy)
}

fn cgroup_ref(cgroup: &StoredCgroup) -> wire::CgroupRef {
    let (path, path_hex) = path(cgroup.path.as_deref());
    wire::CgroupRef { id: cgroup.id.0, path, path_hex }
}

/// How many components a path has: a root's has none.
fn level(path: &[u8]) -> u32 {
    let components = path.split(|byte| *byte == b'/').filter(|component| !component.is_empty());
    u32::try_from(components.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use cgtrace_common::{CgroupId, HierarchyId, Kind, Task};
    use cgtrace_history::GapReason;

    use super::*;

    const BOOT: &str = "11111111-2222-3333-4444-555555555555";
    const PRIVATE: StoredEncoder<'_> = StoredEncoder { current_boot: Some(BOOT), identities: true };
    const PUBLIC: StoredEncoder<'_> = StoredEncoder { identities: false, ..PRIVATE };

    fn moment(boot_ns: u64) -> Moment {
        Moment {
            boot_id: Arc::from(BOOT),
            boot_ns,
            wall_ns: 1_795_428_300_000_000_000 + boot_ns.cast_signed(),
        }
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
}
