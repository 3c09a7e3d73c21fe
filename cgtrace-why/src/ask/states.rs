//! What the files of the cgroup and of its ancestors say, and the daemon's records of freezing.

use std::os::unix::ffi::OsStrExt as _;

use cgtrace_client::{Client, paths, wire};
use cgtrace_host::hierarchy::{self, Mount, mounts_at, read_state, threads_below};

use super::results::{budget, path};
use crate::{
    facts::{CgroupState, Facts, Freezer, Level, Member, Usage},
    gather::{Hierarchy, members},
    rules,
};

/// How many threads are examined at most to find those that are not frozen.
const MAX_THREADS: usize = 4_096;
/// How many processes that are not frozen are reported.
const MAX_UNFROZEN: usize = 16;
/// How many records of freezing and thawing are requested.
const MAX_FREEZES: u64 = 8;

/// The state of the cgroup in question on each hierarchy in question that has it; if none has it, that of its
/// nearest ancestor.
pub(super) fn gather(facts: &Facts, hierarchies: &[Hierarchy], notes: &mut Vec<String>) -> Vec<CgroupState> {
    let subject = rules::subject(facts);
    let bytes = path(subject);
    if paths::normalize(&bytes).is_err() || bytes == b"/" {
        return Vec::new();
    }
    let in_question = |result: &&wire::HierarchyResult| {
        let hierarchy = facts.hierarchy.as_deref();
        hierarchy.is_none_or(|name| cgtrace_paths::names_hierarchy(name, &result.hierarchy))
    };
    let results: Vec<&wire::HierarchyResult> = subject.hierarchies.iter().filter(in_question).collect();
    let anywhere = results.iter().any(|result| result.present);
    let mut states = Vec::new();
    for result in results.into_iter().filter(|result| result.present || !anywhere) {
        let mounted = hierarchies.iter().find(|known| known.id.0 == result.hierarchy_id);
        let Some(mount) = mounted.and_then(|known| known.mount.as_ref()) else { continue };
        match read_state(mount, &bytes, &mut budget()) {
            // Removed, or created, since the daemon's answer.
            Ok(state) if state.exists != result.present => {}
            Ok(state) => {
                let mut state = CgroupState {
                    hierarchy: result.hierarchy.clone(),
                    path: subject.path.clone(),
                    ..state_of(mount, &state)
                };
                state.unfrozen = unfrozen(mount, &state);
                states.push(state);
            }
            Err(error) => notes.push(format!("its files on {} could not be read: {error}", result.hierarchy)),
        }
    }
    states
}

fn state_of(mount: &Mount, state: &hierarchy::CgroupState) -> CgroupState {
    let (members, members_omitted) = members::of(&state.tasks);
    let levels: Vec<Level> = state.levels.iter().map(|level| level_of(mount, level)).collect();
    let directory = levels.first().map(|level| level.directory.as_slice()).unwrap_or_default();
    let mount_points = if state.exists { mounts_at(directory).unwrap_or_default() } else { Vec::new() };
    CgroupState {
        exists: state.exists,
        levels_omitted: state.levels_omitted as u64,
        children: state.children.iter().map(|name| paths::as_text(name).0).collect(),
        child_count: state.child_count as u64,
        members,
        members_omitted,
        members_in_other_namespaces: state.tasks.elsewhere as u64,
        mount_points: mount_points
            .iter()
            .map(|point| paths::as_text(point.as_os_str().as_bytes()).0)
            .collect(),
        levels,
        ..CgroupState::default()
    }
}

fn level_of(mount: &Mount, level: &hierarchy::Level) -> Level {
    let usage = |usage: hierarchy::Usage| Usage { used: usage.used, max: usage.max };
    let uid = |owner: hierarchy::Owner| owner.uid;
    let below: &[u8] = if level.path == b"/" { b"" } else { &level.path };
    Level {
        path: paths::as_text(&level.path).0,
        directory: [mount.path.as_os_str().as_bytes(), below].concat(),
        owner_uid: level.owner.map(uid),
        procs_uid: level.procs_owner.map(uid),
        subtree_control_uid: level.subtree_control_owner.map(uid),
        kind: level.kind.clone(),
        controllers: level.controllers.clone(),
        subtree_control: level.subtree_control.clone(),
        descendants: level.descendants.map(usage),
        max_depth: level.max_depth,
        pids: level.pids.map(usage),
        freezer: level
            .freezer
            .as_ref()
            .map(|freezer| Freezer { requested: freezer.requested, frozen: freezer.frozen }),
        memory: level.memory.map(usage),
        has_kill: level.has_kill,
        populated: level.populated,
    }
}

/// The daemon's records of freezing and thawing of the level at which freezing was requested.
pub(super) fn freezes(
    client: &mut Client,
    states: &[CgroupState],
    notes: &mut Vec<String>,
) -> Vec<wire::Event> {
    use wire::EventKind::{Freeze, Frozen, Thaw, Thawed};
    let v2 = states.iter().find(|state| state.exists && state.hierarchy == "v2");
    let Some(level) = v2.and_then(rules::frozen_level) else { return Vec::new() };
    let log = wire::Log::default()
        .patterns([level.path.as_str()])
        .hierarchies(["v2"])
        .kinds([Freeze, Thaw, Frozen, Thawed].map(String::from))
        .newest_first(true)
        .max(MAX_FREEZES);
    let events = client.log(&log).and_then(|items| {
        items
            .filter_map(|item| match item {
                Ok(item) => item.event.map(Ok),
                Err(error) => Some(Err(error)),
            })
            .collect::<Result<Vec<_>, _>>()
    });
    let mut events = events.unwrap_or_else(|error| {
        notes.push(format!("the records of freezing could not be read: {error}"));
        Vec::new()
    });
    events.retain(|event| event.path.as_deref() == Some(&level.path));
    events
}

/// The processes that keep the level at which freezing was requested from being frozen: those that a signal
/// does not wake.
fn unfrozen(mount: &Mount, state: &CgroupState) -> Vec<Member> {
    let level =
        rules::frozen_level(state).filter(|level| level.freezer.is_some_and(|freezer| !freezer.frozen));
    let Some(level) = level else { return Vec::new() };
    // A path that is no UTF-8 was shortened for the report.
    let path = level.directory.strip_prefix(mount.path.as_os_str().as_bytes()).unwrap_or_default();
    let threads = threads_below(mount, path, MAX_THREADS, &mut budget()).unwrap_or_default();
    let members = threads.into_iter().filter_map(members::describe);
    // On v1, frozen threads have this state, too.
    let is_stuck = |member: &Member| {
        member.state.as_deref() == Some("uninterruptible")
            && member.wchan.as_deref() != Some("__refrigerator")
    };
    members.filter(is_stuck).take(MAX_UNFROZEN).collect()
}
