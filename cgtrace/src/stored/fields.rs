//! The fields that live and stored cgroups have in common on the wire.

use cgtrace_client::{paths, wire};
use cgtrace_common::{HierarchyId, Kind};
use cgtrace_paths::ParsedPath;

/// A kind of event.
pub fn kind(kind: Kind) -> wire::EventKind {
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

/// A path as text, and as hex digits if the text is not exact.
pub fn path(path: Option<&[u8]>) -> (Option<String>, Option<String>) {
    path.map_or((None, None), |path| {
        let (text, hex) = paths::as_text(path);
        (Some(text), hex)
    })
}

/// A hierarchy's name, or `hierarchy-N` if its name is unknown.
pub fn hierarchy_name(name: Option<&str>, id: HierarchyId) -> String {
    name.map_or_else(|| format!("hierarchy-{}", id.0), str::to_owned)
}

/// A comm without its NUL padding.
pub fn comm(comm: &[u8; 16]) -> String {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    paths::as_text(&comm[..end]).0
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
