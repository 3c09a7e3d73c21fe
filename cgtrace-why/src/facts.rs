//! The input of the rules. A fact that could not be gathered keeps its default, and the rules conclude less
//! from it.
//!
//! Paths and texts are encoded as on the wire; the rules escape what they quote.

mod state;

use std::collections::BTreeMap;

use cgtrace_client::wire::{Event, Membership, PathResult, Task, Timestamp};
use serde::{Deserialize, Serialize};

use crate::rules::{Setting, Settings};

pub use state::{CgroupState, Freezer, Level, Member, Usage};

/// Everything known about one path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The path as given. It need not be a valid cgroup path.
    pub path: String,
    /// The hierarchy in question, by its name in results; `None` for any.
    pub hierarchy: Option<String>,
    /// When the question was asked.
    pub now: Timestamp,
    /// The daemon's result for the path; the default, with `present` false, if the path is invalid.
    pub result: PathResult,
    /// The results for the [`candidate_paths`](crate::rules::candidate_paths) and the
    /// [`nearest`](crate::rules::nearest()) paths.
    pub others: Vec<PathResult>,
    /// The cgroup mounts of the calling process.
    pub mounts: Vec<CgroupMount>,
    /// Whether a cgroup of these results contains a process, itself or in a descendant, by path and hierarchy
    /// name. Cgroups that could not be read are missing.
    pub populated: BTreeMap<(String, String), bool>,
    /// For cgroups that users other than root can write to: which users, in words, by the cgroup's path.
    pub writable: BTreeMap<String, String>,
    /// For a path that exists on v2: the contents of its `cgroup.controllers` and of the root's.
    pub v2_controllers: Option<Controllers>,
    /// The processes that the cgroup would belong to: those whose comm is the unit's
    /// (`ParsedPath::expected_comm`) or that of the unit's executable. `None` if they were not determined.
    pub processes: Option<Vec<Process>>,
    /// Such processes that have exited, the most recent first, with the cgroups in which they were last seen.
    pub exited: Vec<Process>,
    /// Attach, fork and transfer events from or to the path, the oldest first.
    pub moves: Vec<Event>,
    /// The path's unit, as the service manager reports it. `None` if the service manager could not be
    /// queried.
    pub unit: Option<Unit>,
    /// The slice that the path is, as the service manager reports it.
    pub slice: Option<Unit>,
    /// Whether it is known that no service manager is running. The facts about the unit are then from its files.
    pub no_service_manager: bool,
    /// The container to which the path's unit belongs, if that is not the service manager's that was queried.
    pub container: Option<Container>,
    /// The process that does not see the cgroup.
    pub observer: Option<Observer>,
    /// The settings of the kubelet that would look the cgroup up, if none is running.
    pub kubelet: Option<Settings>,
    /// The flag, without `--`, and the setting of the observer that names the path.
    pub setting: Option<(&'static str, Setting)>,
    /// The path by which the observer looks the cgroup up, if that is relative to the root of its cgroup namespace.
    pub relative: Option<String>,
    /// What the files of the cgroup in question say, on each hierarchy in question that has it; if none has it,
    /// what those of its nearest ancestor say.
    pub states: Vec<CgroupState>,
    /// Recorded requests to freeze or thaw the level of `states` that is frozen, the newest first. The kernel has
    /// such events on v2 only.
    pub freezes: Vec<Event>,
    /// The v2 controller in question, if the cgroup was asked about by a controller's name.
    pub controller: Option<String>,
    /// Whether the question is what keeps the cgroup from being removed or used.
    pub busy: bool,
}

impl Facts {
    /// The result for the path, then those for other paths.
    pub(crate) fn all_results(&self) -> impl Iterator<Item = &PathResult> {
        std::iter::once(&self.result).chain(&self.others)
    }
}

/// A mount of a cgroup hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupMount {
    /// The hierarchy, by its name in results.
    pub hierarchy: String,
    /// The mount point.
    pub point: String,
    /// The cgroup that is mounted, as an absolute path in the hierarchy: `/` if the whole hierarchy is.
    pub root: String,
}

/// The controllers of a cgroup on v2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controllers {
    /// The cgroup's.
    pub here: Vec<String>,
    /// The root's.
    pub root: Vec<String>,
}

/// A process that a cgroup would belong to, or that looks for the cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Process {
    /// The process.
    pub task: Task,
    /// When it started.
    pub started: Timestamp,
    /// When it called exec; absent if the exec was not observed and the process was found in /proc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_at: Option<Timestamp>,
    /// Whether it was running when the daemon started.
    pub predates_daemon: bool,
    /// Whether it has exited.
    pub exited: bool,
    /// Its cgroups now or, if it has exited, when it was last seen.
    pub cgroups: Vec<Membership>,
    /// Its cgroups when it called exec, if that was observed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec_cgroups: Vec<Membership>,
    /// Its parent, its parent's parent, and so on; as of its exec, if that was observed.
    pub ancestors: Vec<Task>,
    /// Whether it is known to belong to the path's unit (an observer: to its own unit, or to root). Its comm
    /// alone proves nothing.
    #[serde(skip)]
    pub of_unit: bool,
}

/// A container: a pid namespace, and the cgroup of its processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The cgroup.
    pub cgroup: String,
    /// Its PID 1.
    pub init: Task,
}

/// A unit, with the properties that `systemctl show` prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// `Id`.
    pub id: String,
    /// `LoadState`: `loaded`, `not-found`, `masked`, `error`, …
    pub load_state: String,
    /// `ActiveState`: `active`, `inactive`, `failed`, `activating`, …; [`Unit::STARTED`] or
    /// [`Unit::NOT_RUNNING`] if only files show it.
    pub active_state: String,
    /// `SubState`: `running`, `exited`, `dead`, …
    pub sub_state: String,
    /// `UnitFileState`: `enabled`, `disabled`, …; may be empty.
    pub file_state: String,
    /// `Result`, unless it is `success`: `exit-code`, `oom-kill`, …
    pub result: Option<String>,
    /// The cgroup below which its service manager creates cgroups; empty for the root.
    pub manager_root: String,
    /// `ControlGroup`, as a path on this machine; empty while the unit is not running.
    pub control_group: String,
    /// `Slice`.
    pub slice: String,
    /// `FragmentPath`.
    pub fragment_path: String,
    /// `CPUAccounting`, if known.
    pub cpu_accounting: Option<bool>,
    /// `MemoryAccounting`, if known.
    pub memory_accounting: Option<bool>,
    /// `TasksMax`, if known; `u64::MAX` for `infinity`.
    pub tasks_max: Option<u64>,
    /// `MemoryMax`, if known; `u64::MAX` for `infinity`.
    pub memory_max: Option<u64>,
    /// `KillMode`; empty if it is not known, or the unit has none.
    pub kill_mode: String,
}

impl Unit {
    /// It is active, activating or deactivating.
    pub const STARTED: &str = "started";

    /// It is inactive, has failed, or waits for its automatic restart.
    pub const NOT_RUNNING: &str = "not running";
}

/// The process that looks for the cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Observer {
    /// The process.
    pub process: Process,
    /// Its command line.
    pub arguments: Vec<String>,
    /// The unit of its name, if it runs in a login session instead.
    #[serde(skip)]
    pub unit: Option<Unit>,
    /// The root of its cgroup namespace, if that is not the caller's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_root: Option<String>,
    /// Its settings, from its command line and its configuration files.
    #[serde(skip)]
    pub settings: Settings,
    /// Its cgroup mounts, with their roots as absolute paths. `None` if they could not be read.
    #[serde(skip)]
    pub mounts: Option<Vec<CgroupMount>>,
    /// The inotify limits (`/proc/sys/fs/inotify`) and their use by the observer's user.
    #[serde(skip)]
    pub inotify: Vec<InotifyLimit>,
}

/// An inotify limit per user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InotifyLimit {
    /// The sysctl.
    pub name: &'static str,
    /// The number in use, if it could be counted.
    pub used: Option<u64>,
    /// The limit.
    pub max: u64,
}
