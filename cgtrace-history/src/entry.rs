//! What the daemon records. These types own their data, because another thread writes them.

use cgtrace_common::{CgroupId, HierarchyId, Kind, Task};

/// A cgroup, as an entry names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryCgroup {
    /// The hierarchy.
    pub hierarchy: HierarchyId,
    /// The hierarchy's name; `None` if unknown.
    pub hierarchy_name: Option<Box<str>>,
    /// The cgroup's id.
    pub id: CgroupId,
    /// The absolute path from the hierarchy's root; `None` if unknown.
    pub path: Option<Box<[u8]>>,
}

/// A task, with the path of its cgroup on the default hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryTask {
    /// The task.
    pub task: Task,
    /// The path; `None` if unknown or too long.
    pub cgroup: Option<Box<[u8]>>,
}

/// What the time of a creation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The mkdir was observed.
    Observed,
    /// The mkdir was missed: the time is that of the scan or event that proved it.
    Inferred,
    /// It existed at that time.
    Preexisting,
}

/// How a cgroup was created, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryCreation {
    /// Ns since boot.
    pub boot_ns: u64,
    /// What that time means.
    pub origin: Origin,
    /// The task that created it, if observed.
    pub by: Option<EntryTask>,
}

/// The circumstances of an exec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryExec {
    /// The process's cgroup on each hierarchy.
    pub cgroups: Box<[EntryCgroup]>,
    /// Its parent, that one's parent, and so on.
    pub ancestors: Box<[EntryTask]>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryEvent {
    /// Its sequence number.
    pub seq: u64,
    /// Ns since boot.
    pub boot_ns: u64,
    /// The wall clock at zero of the boot clock: ns since 1970.
    pub zero_wall_ns: i64,
    /// Its kind.
    pub kind: Kind,
    /// The cgroup.
    pub cgroup: Option<EntryCgroup>,
    /// The old path of a rename, or the cgroup that a task came from.
    pub from: Option<EntryCgroup>,
    /// The task that was moved, forked or executed a program.
    pub task: Option<EntryTask>,
    /// Whether the whole process was moved; attach only.
    pub threadgroup: Option<bool>,
    /// The task that caused it.
    pub by: Option<EntryTask>,
    /// It was not recorded, but inferred.
    pub inferred: bool,
    /// The number of lost records; `lost` only.
    pub lost: Option<u64>,
    /// Of a removed cgroup; rmdir only.
    pub creation: Option<EntryCreation>,
    /// Exec only.
    pub exec: Option<EntryExec>,
}

/// A process with a tracked name that was running before it was tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProcess {
    /// When it was found: ns since boot.
    pub boot_ns: u64,
    /// The wall clock at zero of the boot clock: ns since 1970.
    pub zero_wall_ns: i64,
    /// The process.
    pub task: EntryTask,
    /// Its cgroups and ancestors.
    pub exec: EntryExec,
}

/// A cgroup that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryLive {
    /// The cgroup.
    pub cgroup: EntryCgroup,
    /// Its creation.
    pub creation: EntryCreation,
}

/// Every cgroup that exists on the hierarchies whose cgroups are all known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveSet {
    /// When: ns since boot.
    pub boot_ns: u64,
    /// The wall clock at zero of the boot clock: ns since 1970.
    pub zero_wall_ns: i64,
    /// The hierarchies: one that is not listed here may have cgroups that are not in `cgroups`.
    pub hierarchies: Vec<HierarchyId>,
    /// The cgroups.
    pub cgroups: Vec<EntryLive>,
}

/// The beginning of a run of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The number of the last event before it.
    pub seq: u64,
    /// From when on events are recorded: ns since boot.
    pub boot_ns: u64,
    /// The wall clock at zero of the boot clock: ns since 1970.
    pub zero_wall_ns: i64,
    /// Nothing happened unrecorded since the previous run: the kernel program had gone on recording.
    pub continues: bool,
}

/// Something to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A run of the daemon begins.
    Begin(Begin),
    /// An event.
    Event(Box<EntryEvent>),
    /// A process with a tracked name that was already running.
    Process(Box<EntryProcess>),
    /// The path of a removed cgroup that was stored without one.
    Named {
        /// The cgroup.
        cgroup: EntryCgroup,
    },
    /// The cgroups that exist now. What is stored as existing, but is not among them, has been removed.
    Live(Box<LiveSet>),
}

impl Entry {
    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let path = |cgroup: &EntryCgroup| cgroup.path.as_ref().map_or(0, |path| path.len());
        let of_task =
            |task: &EntryTask| size_of::<EntryTask>() + task.cgroup.as_ref().map_or(0, |path| path.len());
        let of_exec = |exec: &EntryExec| -> usize {
            exec.cgroups.iter().map(|cgroup| size_of::<EntryCgroup>() + path(cgroup)).sum::<usize>()
                + exec.ancestors.iter().map(of_task).sum::<usize>()
        };
        size_of::<Self>()
            + match self {
                Self::Begin(_) => 0,
                Self::Event(event) => {
                    let paths = [&event.cgroup, &event.from].into_iter().flatten().map(path);
                    let created_by = event.creation.as_ref().and_then(|creation| creation.by.as_ref());
                    let tasks = [event.task.as_ref(), event.by.as_ref(), created_by].into_iter().flatten();
                    size_of::<EntryEvent>()
                        + paths.sum::<usize>()
                        + tasks.map(of_task).sum::<usize>()
                        + event.exec.as_ref().map_or(0, of_exec)
                }
                Self::Process(process) => size_of::<EntryProcess>() + of_exec(&process.exec),
                Self::Named { cgroup } => path(cgroup),
                Self::Live(live) => live
                    .cgroups
                    .iter()
                    .map(|live| {
                        size_of::<EntryLive>()
                            + path(&live.cgroup)
                            + live.creation.by.as_ref().map_or(0, of_task)
                    })
                    .sum(),
            }
    }
}
