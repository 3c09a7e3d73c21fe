//! The hooks: which program is attached where.

use cgtrace_common::Kind;

/// A program, and the tracepoint that it is attached to. The kernel's prototypes stand in cgtrace-ebpf.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: &'static str,
    /// The tracepoint; most programs have its name.
    pub(super) tracepoint: &'static str,
    /// What its records are about; one of two, where its program tells them apart. `None`: nothing is missed if the
    /// kernel skips it.
    pub(super) kind: Option<Kind>,
    need: Need,
}

const fn hook(name: &'static str, kind: Kind, need: Need) -> Hook {
    Hook { name, tracepoint: name, kind: Some(kind), need }
}

const fn exec(name: &'static str, kind: Option<Kind>) -> Hook {
    Hook { name, tracepoint: "sched_process_exec", kind, need: Need::IfWatched }
}

/// Every hook.
///
/// Their order is that of attaching, and what ends an instance comes before what begins one: a cgroup whose making is
/// told, and whose removal fell between two attachings, would stay in the index for ever. A removal of what was
/// never told is harmless, and what was made before the last of them is found by the first walk.
pub(super) static HOOKS: [Hook; 19] = [
    hook("cgroup_rmdir", Kind::Rmdir, Need::Always),
    hook("cgroup_rename", Kind::Rename, Need::IfThere),
    hook("cgroup_destroy_root", Kind::HierarchyDestroyed, Need::IfThere),
    hook("cgroup_setup_root", Kind::HierarchyCreated, Need::IfThere),
    hook("cgroup_mkdir", Kind::Mkdir, Need::Always),
    hook("cgroup_remount", Kind::Remount, Need::IfThere),
    hook("cgroup_release", Kind::Release, Need::IfThere),
    hook("cgroup_attach_task", Kind::Attach, Need::IfThere),
    hook("cgroup_transfer_tasks", Kind::Transfer, Need::IfThere),
    hook("cgroup_notify_populated", Kind::Populated, Need::IfThere),
    hook("cgroup_notify_frozen", Kind::Frozen, Need::IfThere),
    hook("cgroup_freeze", Kind::Freeze, Need::IfThere),
    hook("cgroup_unfreeze", Kind::Thaw, Need::IfThere),
    hook("sched_wakeup_new", Kind::Fork, Need::IfThere),
    // The kernel runs the programs of a tracepoint in the order of their attaching. What the first one misses, those
    // after it make good, and count.
    exec("sched_process_exec", Some(Kind::Exec)),
    exec("sched_process_exec_2", None),
    exec("sched_process_exec_3", None),
    exec("sched_process_exec_4", None),
    exec("sched_process_exec_bell", None),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Without it there is no index.
    Always,
    /// Without it something is not told of.
    IfThere,
    /// As `IfThere`, but only when a process name is tracked: it runs at every exec.
    IfWatched,
}

impl Hook {
    /// Whether there is no index without it.
    pub(super) fn is_vital(&self) -> bool {
        self.need == Need::Always
    }

    /// Whether it is attached only when process names are tracked.
    pub(super) fn is_for_execs(&self) -> bool {
        self.need == Need::IfWatched
    }
}
