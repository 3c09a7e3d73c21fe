//! Converts changes to entries, which the history thread can own.

use std::rc::Rc;

use cgtrace_history::{
    EntryCgroup, EntryCreation, EntryEvent, EntryExec, EntryProcess, EntryTask, Origin as EntryOrigin,
};

use crate::daemon::{
    index::{Actor, Change, ChangedCgroup, Creation, Origin, ProcessContext, Task, UNIFIED},
    tracker::{Anchor, PreexistingProcess},
};

/// The wall clock at zero of the boot clock: ns since 1970.
pub(super) fn zero_wall_ns(anchor: Anchor) -> i64 {
    i64::try_from(anchor.wall_ns(0)).unwrap_or_default()
}

pub(super) fn cgroup(cgroup: &ChangedCgroup) -> EntryCgroup {
    EntryCgroup {
        hierarchy: cgroup.hierarchy,
        hierarchy_name: cgroup.hierarchy_name.as_deref().map(Box::from),
        id: cgroup.id,
        path: cgroup.path.as_deref().map(Box::from),
    }
}

fn task(task: &Task) -> EntryTask {
    EntryTask { task: *task, cgroup: None }
}

fn actor(actor: &Actor) -> EntryTask {
    EntryTask { task: *actor.task, cgroup: actor.cgroup.as_deref().map(Box::from) }
}

pub(super) fn creation(creation: &Creation) -> EntryCreation {
    EntryCreation {
        boot_ns: creation.boot_ns,
        origin: match creation.origin {
            Origin::Observed => EntryOrigin::Observed,
            Origin::Inferred => EntryOrigin::Inferred,
            Origin::Preexisting => EntryOrigin::Preexisting,
        },
        by: creation.by.as_deref().map(actor),
    }
}

/// The path of a process's cgroup on the default hierarchy.
fn home(context: &ProcessContext) -> Option<Box<[u8]>> {
    let unified = context.cgroups.iter().find(|cgroup| cgroup.hierarchy == UNIFIED)?;
    unified.path.as_deref().map(Box::from)
}

fn exec(context: &ProcessContext) -> EntryExec {
    EntryExec {
        cgroups: context.cgroups.iter().map(cgroup).collect(),
        ancestors: context.ancestors.iter().map(|ancestor| actor(ancestor)).collect(),
    }
}

pub(super) fn event(change: &Change, anchor: Anchor) -> EntryEvent {
    let by = change.by.as_deref();
    EntryEvent {
        seq: change.seq,
        boot_ns: change.boot_ns,
        zero_wall_ns: zero_wall_ns(anchor),
        kind: change.kind,
        cgroup: change.cgroup.as_ref().map(cgroup),
        from: change.from.as_ref().map(cgroup),
        // A process that moves itself is stored once, with its cgroup.
        task: change.task.as_ref().map(|moved| match (by, &change.exec) {
            (Some(by), _) if Rc::ptr_eq(&by.task, moved) => actor(by),
            (_, Some(context)) => EntryTask { task: **moved, cgroup: home(context) },
            _ => task(moved),
        }),
        threadgroup: change.threadgroup,
        by: by.map(actor),
        inferred: change.inferred,
        lost: change.lost,
        creation: change.creation.as_ref().map(creation),
        exec: change.exec.as_deref().map(exec),
    }
}

pub(super) fn process(process: &PreexistingProcess, anchor: Anchor) -> EntryProcess {
    EntryProcess {
        boot_ns: process.boot_ns,
        zero_wall_ns: zero_wall_ns(anchor),
        task: EntryTask { task: process.task, cgroup: home(&process.context) },
        exec: exec(&process.context),
    }
}
