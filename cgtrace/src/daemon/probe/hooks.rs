//! The hooks: kernel programs and their tracepoints.

use cgtrace_common::Kind;

/// A program, and the tracepoint that it is attached to. cgtrace-ebpf documents the kernel's prototypes.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: &'static str,
    /// The tracepoint; most programs are named after it.
    pub(super) tracepoint: &'static str,
    /// The kind of its records, or one of two kinds. `None`: a skipped run is not a loss.
    pub(super) kind: Option<Kind>,
    requirement: Requirement,
}

const fn hook(name: &'static str, kind: Kind, requirement: Requirement) -> Hook {
    Hook { name, tracepoint: name, kind: Some(kind), requirement }
}

const fn exec(name: &'static str, kind: Option<Kind>) -> Hook {
    Hook { name, tracepoint: "sched_process_exec", kind, requirement: Requirement::IfTracked }
}

/// Every hook, in the order of attaching.
///
/// Removal hooks come before creation hooks: a cgroup whose creation was recorded and which was removed
/// before the removal hook was attached would stay in the index forever. The removal of an unknown cgroup is
/// harmless, and the initial scan finds the cgroups created before the last hook was attached.
pub(super) static HOOKS: [Hook; 19] = [
    hook("cgroup_rmdir", Kind::Rmdir, Requirement::Required),
    hook("cgroup_rename", Kind::Rename, Requirement::Optional),
    hook("cgroup_destroy_root", Kind::HierarchyDestroyed, Requirement::Optional),
    hook("cgroup_setup_root", Kind::HierarchyCreated, Requirement::Optional),
    hook("cgroup_mkdir", Kind::Mkdir, Requirement::Required),
    hook("cgroup_remount", Kind::Remount, Requirement::Optional),
    hook("cgroup_release", Kind::Release, Requirement::Optional),
    hook("cgroup_attach_task", Kind::Attach, Requirement::Optional),
    hook("cgroup_transfer_tasks", Kind::Transfer, Requirement::Optional),
    hook("cgroup_notify_populated", Kind::Populated, Requirement::Optional),
    hook("cgroup_notify_frozen", Kind::Frozen, Requirement::Optional),
    hook("cgroup_freeze", Kind::Freeze, Requirement::Optional),
    hook("cgroup_unfreeze", Kind::Thaw, Requirement::Optional),
    hook("sched_wakeup_new", Kind::Fork, Requirement::Optional),
    // The kernel runs the programs of a tracepoint in the order of attaching. The backup programs handle, and
    // count, the execs that the first one misses.
    exec("sched_process_exec", Some(Kind::Exec)),
    exec("sched_process_exec_2", None),
    exec("sched_process_exec_3", None),
    exec("sched_process_exec_4", None),
    exec("sched_process_exec_bell", None),
];

/// Why a hook that runs at every exec is not attached.
pub const NOT_TRACKED: &str = "no comm is tracked";

/// The tracepoints, each with whether the index depends on it. One can be used by several hooks.
pub fn tracepoints() -> impl Iterator<Item = (&'static str, bool)> {
    HOOKS.iter().map(|hook| (hook.tracepoint, hook.is_required()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Requirement {
    /// The index depends on it.
    Required,
    /// Without it, some events are missing.
    Optional,
    /// As `Optional`, but attached only if comms are tracked, because it runs at every exec.
    IfTracked,
}

impl Hook {
    /// Whether the index depends on it.
    pub(super) fn is_required(&self) -> bool {
        self.requirement == Requirement::Required
    }

    /// Whether it is attached only if comms are tracked.
    pub(super) fn is_for_tracking(&self) -> bool {
        self.requirement == Requirement::IfTracked
    }
}
