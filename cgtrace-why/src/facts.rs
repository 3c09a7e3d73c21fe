//! What `why` reasons about. What could not be gathered stays at its default, and the rules say less.
//!
//! Paths and texts are as the wire has them: the rules escape what they quote.

use std::collections::BTreeMap;

use cgtrace_client::wire::{Event, Membership, PathResult, Task, Timestamp};
use serde::{Deserialize, Serialize};

/// All that is known about a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The path as it was asked, which may be no cgroup's path at all.
    pub name: String,
    /// The hierarchy that it was asked for, as a row calls it; any, if `None`.
    pub on: Option<String>,
    /// When the question was asked.
    pub now: Timestamp,
    /// What is known of the path itself. If it cannot be looked up: default, with `present` false.
    pub answer: PathResult,
    /// What is known of the paths that [`wanted`](crate::rules::wanted) asked for, and of the
    /// [`nearest`](crate::rules::nearest()).
    pub others: Vec<PathResult>,
    /// Where hierarchies are mounted on this machine.
    pub mounts: Vec<Mounted>,
    /// Whether there is a process in a cgroup of these results or below, by its path and its hierarchy as a row calls
    /// them; as far as that could be read.
    pub populated: BTreeMap<(String, String), bool>,
    /// Who else may write to cgroups that the facts mention, in words, by the cgroup's path.
    pub writable: BTreeMap<String, String>,
    /// For a path that is there on v2: what its `cgroup.controllers` holds, and what its root's does.
    pub v2_controllers: Option<Controllers>,
    /// The processes that the path would be of: those called as its unit is (`ParsedPath::expected_comm`), or of the
    /// unit's executable. `None`: they were not looked for.
    pub processes: Option<Vec<Process>>,
    /// Processes of that kind that were seen and have ended, the last one first; their cgroups are those that they
    /// were seen in.
    pub ended: Vec<Process>,
    /// Attach, fork and transfer events from or to the path, the oldest first.
    pub moves: Vec<Event>,
    /// What the service manager says of the path's unit. `None`: it was not, or could not be asked.
    pub unit: Option<Unit>,
    /// The process that does not see the cgroup.
    pub observer: Option<Observer>,
}

impl Facts {
    /// What is known of the path itself, and of others.
    pub(crate) fn results(&self) -> impl Iterator<Item = &PathResult> {
        std::iter::once(&self.answer).chain(&self.others)
    }
}

/// A hierarchy's mount point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounted {
    /// The hierarchy, as a row calls it.
    pub hierarchy: String,
    /// The directory.
    pub point: String,
    /// The cgroup at its top, as an absolute path in the hierarchy: `/` unless a part of it is mounted.
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

/// A process that a path would belong to, or that looks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Process {
    /// The process.
    pub task: Task,
    /// When it began.
    pub started: Timestamp,
    /// When its exec was seen; absent if it was only found in /proc.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec_at: Option<Timestamp>,
    /// It was there when the daemon began.
    pub predates_daemon: bool,
    /// It runs no more.
    pub exited: bool,
    /// Its cgroups now or, if it has ended, when it was seen.
    pub cgroups: Vec<Membership>,
    /// Its cgroups when it was executed, if that was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec_cgroups: Vec<Membership>,
    /// Its parent, that one's parent, and so on; as of its exec, if that was seen.
    pub ancestors: Vec<Task>,
    /// It is known to be the path's unit's, or its observer's own unit's or root's: its name alone proves nothing.
    #[serde(skip)]
    pub of_unit: bool,
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

/// The process that looks for the cgroups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Observer {
    /// The process.
    pub process: Process,
    /// Its command line.
    pub arguments: Vec<String>,
    /// Its cgroup namespace's root, if that is not the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_root: Option<String>,
    /// The text of the file that its `--config` names, if it could be read.
    #[serde(skip)]
    pub config: Option<String>,
    /// The cgroup file systems that it can reach, with their roots as absolute paths. `None`: they could not be read.
    #[serde(skip)]
    pub mounts: Option<Vec<Mounted>>,
    /// inotify's limits (`/proc/sys/fs/inotify`), and their use by the observer's user.
    #[serde(skip)]
    pub inotify: Vec<Limit>,
}

/// A limit on what a user may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// The sysctl.
    pub name: &'static str,
    /// How many the user has, where that could be counted.
    pub used: Option<u64>,
    /// How many it may have.
    pub max: u64,
}
