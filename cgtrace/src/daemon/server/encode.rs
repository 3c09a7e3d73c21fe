//! Encodes index types as wire types.

use cgtrace_client::{paths, wire};

use super::class::SocketClass;
use crate::daemon::{
    index::{
        Actor, Change, ChangedCgroup, Creation, HierarchyId, HierarchyState, Index, Key, Kind, Origin, Task,
    },
    tracker::Anchor,
};
use cgtrace_paths::ParsedPath;

fn kind(kind: Kind) -> wire::EventKind {
    match kind {
        Kind::Mkdir => wire::EventKind::Mkdir,
        Kind::Rmdir => wire::EventKind::Rmdir,
        Kind::Rename => wire::EventKind::Rename,
        Kind::Release => wire::EventKind::Release,
        Kind::Attach => wire::EventKind::Attach,
        Kind::Fork => wire::EventKind::Fork,
        Kind::Transfer => wire::EventKind::Transfer,
        Kind::Populated => wire::EventKind::Populated,
        Kind::Empty => wire::EventKind::Empty,
        Kind::Freeze => wire::EventKind::Freeze,
        Kind::Thaw => wire::EventKind::Thaw,
        Kind::Frozen => wire::EventKind::Frozen,
        Kind::Thawed => wire::EventKind::Thawed,
        Kind::HierarchyCreated => wire::EventKind::HierarchyCreated,
        Kind::HierarchyDestroyed => wire::EventKind::HierarchyDestroyed,
        Kind::Remount => wire::EventKind::Remount,
        Kind::Exec => wire::EventKind::Exec,
        Kind::Lost => wire::EventKind::Lost,
        Kind::Resynced => wire::EventKind::Resynced,
        // Not an event kind.
        Kind::Ancestry => kind.as_str().into(),
    }
}

/// Encodes times with a clock anchor, and omits identities on the public socket.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    pub anchor: Anchor,
    pub class: SocketClass,
}

/// A path as text, and as hex digits if the text is not exact.
fn path(path: Option<&[u8]>) -> (Option<String>, Option<String>) {
    path.map_or((None, None), |path| {
        let (text, hex) = paths::as_text(path);
        (Some(text), hex)
    })
}

/// A hierarchy's name, or `hierarchy-N` if its name is unknown.
pub fn hierarchy_name(state: &HierarchyState) -> String {
    state.name.as_deref().map_or_else(|| unnamed(state.id), str::to_owned)
}

fn unnamed(id: HierarchyId) -> String {
    format!("hierarchy-{}", id.0)
}

/// The owner of a cgroup, as far as its path proves it.
#[derive(Debug, Default)]
pub struct PathOwner {
    pub unit: Option<String>,
    pub slice: Option<String>,
    pub pod_uid: Option<String>,
    pub qos: Option<String>,
    pub container_id: Option<String>,
    pub runtime: Option<String>,
}

impl PathOwner {
    pub fn of(path: &[u8]) -> Self {
        let ParsedPath { unit, slice, pod_uid, qos, container_id, runtime, .. } =
            cgtrace_paths::parse_exact(path);
        Self {
            unit,
            slice,
            pod_uid,
            qos: qos.map(|qos| qos.as_str().to_owned()),
            container_id,
            runtime: runtime.map(|runtime| runtime.as_str().to_owned()),
        }
    }
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
            hierarchy: cgroup.map(|cgroup| {
                cgroup.hierarchy_name.as_deref().map_or_else(|| unnamed(cgroup.hierarchy), str::to_owned)
            }),
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

/// A comm without its NUL padding.
fn comm(comm: &[u8; 16]) -> String {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    paths::as_text(&comm[..end]).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_knows_every_kind() {
        assert_eq!(Kind::EVENTS.map(kind), wire::EventKind::KNOWN);
        for of_event in Kind::EVENTS {
            assert_eq!(kind(of_event).as_str(), of_event.as_str());
        }
    }
}
