//! Encodes index types as wire types.

use cgtrace_client::{paths, wire};

use super::class::SocketClass;
use crate::{
    daemon::{
        index::{
            Actor, Change, ChangedCgroup, Creation, HierarchyId, HierarchyState, Index, Key, Origin, Task,
        },
        tracker::Anchor,
    },
    stored::{self, PathOwner, comm, kind, path},
};

/// Encodes times with a clock anchor, and omits identities on the public socket.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    pub anchor: Anchor,
    pub class: SocketClass,
    /// Whether events are recorded. Without, no record is complete from any moment on.
    pub recorded: bool,
}

/// A hierarchy's name, or `hierarchy-N` if its name is unknown.
pub fn hierarchy_name(state: &HierarchyState) -> String {
    stored::hierarchy_name(state.name.as_deref(), state.id)
}

impl Encoder {
    pub fn timestamp(&self, boot_ns: u64) -> wire::Timestamp {
        wire::Timestamp::from_unix_ns(self.anchor.wall_ns(boot_ns), boot_ns)
    }

    pub fn task(&self, task: &Task, cgroup: Option<&[u8]>) -> Option<wire::Task> {
        self.class.shows_identities().then(|| wire::Task {
            pid: task.pid,
            tid: task.tid,
            ppid: Some(task.ppid),
            comm: comm(&task.comm),
            uid: Some(task.uid),
            start_boot_ns: Some(task.start_boot_ns),
            cgroup: cgroup.map(|path| paths::as_text(path).0),
            threadgroup: None,
        })
    }

    pub fn event(&self, change: &Change) -> wire::Event {
        let cgroup = change.cgroup.as_ref();
        let bytes = cgroup.and_then(|cgroup| cgroup.path.as_deref());
        let (path_text, path_hex) = path(bytes);
        let PathOwner { unit, slice, pod_uid, qos, container_id, runtime } =
            bytes.map(PathOwner::of).unwrap_or_default();
        let wire::Timestamp { time, boot_ns } = self.timestamp(change.boot_ns);
        wire::Event {
            seq: change.seq,
            time,
            boot_ns,
            kind: kind(change.kind),
            hierarchy: cgroup
                .map(|cgroup| stored::hierarchy_name(cgroup.hierarchy_name.as_deref(), cgroup.hierarchy)),
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
            from: change.from.as_ref().map(from),
            task: change.task.as_ref().and_then(|task| {
                let task = self.task(task, None)?;
                Some(wire::Task { threadgroup: change.threadgroup, ..task })
            }),
            by: self.actor(change.by.as_deref()),
            lost: change.lost,
            inferred: change.inferred,
            boot_id: None,
        }
    }

    /// The last gap in a hierarchy's records.
    pub fn gap(&self, index: &Index, hierarchy: HierarchyId) -> Option<wire::Gap> {
        let gap = index.last_gap(hierarchy)?;
        Some(wire::Gap {
            reason: "lost".to_owned(),
            from: Some(self.timestamp(gap.from_boot_ns)),
            until: self.timestamp(gap.to_boot_ns),
            lost: Some(gap.lost),
            uid: None,
        })
    }

    /// The current instance of a cgroup.
    pub fn instance(&self, index: &Index, key: Key) -> Option<wire::Instance> {
        let instance = index.instance(key)?;
        let (path, path_hex) = path(index.path(key).as_deref());
        let CreationFields { created_at, existed_at, created_by, inferred } =
            self.creation(&instance.creation);
        Some(wire::Instance {
            id: key.id.0,
            path,
            path_hex,
            created_at,
            existed_at,
            created_by,
            removed_at: None,
            removed_by: None,
            removed_during: None,
            inferred,
        })
    }

    fn creation(&self, creation: &Creation) -> CreationFields {
        let (at, predates) = (self.timestamp(creation.boot_ns), creation.origin == Origin::Preexisting);
        let (created_at, existed_at) = if predates { (None, Some(at)) } else { (Some(at), None) };
        let created_by = self.actor(creation.by.as_deref());
        CreationFields { created_at, existed_at, created_by, inferred: creation.origin == Origin::Inferred }
    }

    fn actor(&self, by: Option<&Actor>) -> Option<wire::Task> {
        by.and_then(|by| self.task(&by.task, by.cgroup.as_deref()))
    }

    /// A cgroup in a list.
    pub fn cgroup(&self, hierarchy: &str, listed: &ListedCgroup, known_path: Option<&[u8]>) -> wire::Cgroup {
        let ListedCgroup { key, parent, level, creation } = listed;
        let (path, path_hex) = path(known_path);
        let CreationFields { created_at, existed_at, created_by, .. } = self.creation(creation);
        wire::Cgroup {
            hierarchy: hierarchy.to_owned(),
            hierarchy_id: key.hierarchy.0,
            id: key.id.0,
            parent_id: (*parent != 0).then_some(*parent),
            level: *level,
            path,
            path_hex,
            created_at,
            existed_at,
            created_by,
        }
    }
}

/// A cgroup at the time of a snapshot, without its path.
pub struct ListedCgroup {
    pub key: Key,
    pub parent: u64,
    pub level: u32,
    pub creation: Creation,
}

/// The fields of an instance about its creation.
struct CreationFields {
    created_at: Option<wire::Timestamp>,
    existed_at: Option<wire::Timestamp>,
    created_by: Option<wire::Task>,
    inferred: bool,
}

fn from(cgroup: &ChangedCgroup) -> wire::CgroupRef {
    let (path, path_hex) = path(cgroup.path.as_deref());
    wire::CgroupRef { id: cgroup.id.0, path, path_hex }
}
