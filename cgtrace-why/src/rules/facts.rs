//! What `why` reasons about. Others gather it; whatever could not be gathered stays at its default, and the
//! rules say less.
//!
//! In what order: the names of [`wanted`](super::wanted) and, out of all names that exist or are remembered, those
//! of [`nearest`](super::nearest()) go into one `Lookup` together with the name itself; the unit and the processes
//! are those that [`cgtrace_paths::parse`] reads from the name (`unit`, `process_name`).
//!
//! Names and texts are as the wire has them, so that answers of `Lookup` and events of `Watch` are put in as they
//! come. Nothing in here needs to be escaped: what is told is.

use cgtrace_client::wire::{Answer, Event, Membership, Moment, Task};

/// All that is known about a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The name as it was asked, which may be no cgroup's name at all.
    pub name: String,
    /// The hierarchy that it was asked for, as a row calls it; any, if `None`.
    pub on: Option<String>,
    /// When the question was asked.
    pub now: Moment,
    /// What is known of the name itself. If it is none that can be looked up: default, with `present` false.
    pub answer: Answer,
    /// What is known of the names that [`wanted`](super::wanted) asked for, and of the nearest names
    /// ([`nearest`](super::nearest())).
    pub others: Vec<Answer>,
    /// Where hierarchies are mounted on this machine.
    pub mounts: Vec<Mounted>,
    /// Whether there are processes in the cgroups of these results or below, as far as that could be read.
    pub populated: Vec<Populated>,
    /// Which of the cgroups that the facts mention others may write to.
    pub writable: Vec<Writable>,
    /// For a name that is there on v2: what its `cgroup.controllers` holds, and what its root's does.
    pub v2_controllers: Option<Controllers>,
    /// The processes that the name would be of: those called as its unit is (`Name::process_name`), or of the
    /// unit's executable. `None`: nobody looked.
    pub processes: Option<Vec<Process>>,
    /// Processes of that kind that were seen and have ended, the last one first; their cgroups are those that they
    /// were seen in.
    pub ended: Vec<Process>,
    /// Attach, fork and transfer events from or to the name, the oldest first.
    pub moves: Vec<Event>,
    /// What the service manager says of the name's unit. `None`: it was not, or could not be asked.
    pub unit: Option<Unit>,
    /// Who does not see the cgroup.
    pub asker: Option<Asker>,
}

/// Whether there is a process in a cgroup or below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Populated {
    /// The cgroup, as its result calls it.
    pub path: String,
    /// The hierarchy, as a row calls it.
    pub hierarchy: String,
    /// Whether there is one.
    pub populated: bool,
}

/// A cgroup that other users may write to, so that using it would be at their mercy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writable {
    /// Its path.
    pub path: String,
    /// Who may, in words.
    pub by: String,
}

/// A hierarchy's mount point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounted {
    /// The hierarchy, as a row calls it.
    pub hierarchy: String,
    /// The directory.
    pub point: String,
    /// The cgroup at its top, as an absolute name in the hierarchy: `/` unless a part of it is mounted.
    pub root: String,
}

/// Controllers on v2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// Those of the cgroup.
    pub here: Vec<String>,
    /// Those of the root.
    pub root: Vec<String>,
}

/// How a process came to be known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// It was found in /proc when the question was asked.
    #[default]
    Found,
    /// It was there when cgtrace began, and was found in /proc then.
    Before,
    /// Its exec was seen, at that time.
    Executed(Moment),
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Who it is. `start_boot_ns` is wanted.
    pub task: Task,
    /// It is known to be the path's unit's, or its asker's own: its name alone proves nothing.
    pub of_unit: bool,
    /// When it began.
    pub started: Moment,
    /// How it came to be known.
    pub seen: Seen,
    /// Its cgroups now, absolute, one a hierarchy.
    pub cgroups: Vec<Membership>,
    /// Those that it had when it was executed, if that was seen.
    pub executed_in: Vec<Membership>,
    /// Its parent, that one's parent, and so on.
    pub ancestors: Vec<Task>,
}

/// A unit, in the words of `systemctl show`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// `Id`.
    pub id: String,
    /// `LoadState`: `loaded`, `not-found`, `masked`, `error`, …
    pub load_state: String,
    /// `ActiveState`: `active`, `inactive`, `failed`, `activating`, …
    pub active_state: String,
    /// `SubState`: `running`, `exited`, `dead`, …
    pub sub_state: String,
    /// `UnitFileState`: `enabled`, `disabled`, … ; may be empty.
    pub file_state: String,
    /// `Result`, if not `success`: `exit-code`, `oom-kill`, …
    pub result: Option<String>,
    /// `ControlGroup`; empty while it does not run.
    pub control_group: String,
    /// `Slice`.
    pub slice: String,
    /// `FragmentPath`.
    pub fragment_path: String,
    /// `CPUAccounting`, where known.
    pub cpu_accounting: Option<bool>,
    /// `MemoryAccounting`, where known.
    pub memory_accounting: Option<bool>,
}

/// Who asks for the cgroup and does not see it: kubelet, cAdvisor, an agent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asker {
    /// The process.
    pub process: Process,
    /// Its command line.
    pub arguments: Vec<String>,
    /// The text of the file that its `--config` names, if it could be read.
    pub config: Option<String>,
    /// Its cgroup namespace's root, as an absolute name; `None` if that is this host's, or not known.
    pub namespace_root: Option<String>,
    /// The cgroup file systems that it has mounted, with their roots as absolute names. `None`: nobody looked.
    pub mounts: Option<Vec<Mounted>>,
    /// inotify's limits and their use by the asker's user.
    pub inotify: Option<Inotify>,
}

/// inotify's limits (`/proc/sys/fs/inotify`) and their use by one user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inotify {
    /// `max_user_watches`.
    pub max_watches: u64,
    /// Watches in use: the `inotify` lines of `/proc/PID/fdinfo`.
    pub watches: Option<u64>,
    /// `max_user_instances`.
    pub max_instances: u64,
    /// Instances in use.
    pub instances: Option<u64>,
}
