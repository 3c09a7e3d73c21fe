//! What the files of a cgroup and of its ancestors say.

use cgtrace_client::wire::Task;
use serde::{Deserialize, Serialize};

/// A cgroup on one hierarchy, by what its files and its ancestors' files say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct CgroupState {
    /// The hierarchy's name.
    pub hierarchy: String,
    /// The path of the cgroup in question.
    pub path: String,
    /// Whether it exists; if not, the levels begin with its nearest ancestor, and it has no children and members.
    pub exists: bool,
    /// The cgroup whose state this is, its parent, and so on.
    pub levels: Vec<Level>,
    /// The number of ancestors that are not listed: those nearest to the root.
    pub levels_omitted: u64,
    /// The names of its first 16 children.
    pub children: Vec<String>,
    /// The number of its children.
    pub child_count: u64,
    /// Its first 256 members, without those of its descendants.
    pub members: Vec<Member>,
    /// The number of members that are not listed: beyond the first 256, or exited before they were read.
    pub members_omitted: u64,
    /// The number of members in a pid namespace that is not visible to the caller (`0` in `cgroup.procs`).
    pub members_in_other_namespaces: u64,
    /// Processes of its descendants that keep it from being frozen, if freezing was requested and is not
    /// complete.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unfrozen: Vec<Member>,
    /// The first 16 mount points at or below its directory, in the caller's mount namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<String>,
}

/// One cgroup's settings. What its hierarchy or the kernel does not have is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Level {
    /// Its path.
    pub path: String,
    /// The bytes of its directory.
    #[serde(skip)]
    pub directory: Vec<u8>,
    /// The owner of its directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_uid: Option<u32>,
    /// The owner of its `cgroup.procs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub procs_uid: Option<u32>,
    /// The owner of its `cgroup.subtree_control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtree_control_uid: Option<u32>,
    /// `cgroup.type`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `cgroup.controllers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controllers: Option<Vec<String>>,
    /// `cgroup.subtree_control`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subtree_control: Option<Vec<String>>,
    /// Its descendants, and `cgroup.max.descendants`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descendants: Option<Usage>,
    /// `cgroup.max.depth`, unless it is `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<u64>,
    /// `pids.current` and `pids.max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Usage>,
    /// `memory.current` and `memory.max` (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Usage>,
    /// Whether it has `cgroup.kill`.
    #[serde(skip)]
    pub has_kill: bool,
    /// Its freezer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freezer: Option<Freezer>,
    /// Whether it or a descendant contains a process (v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub populated: Option<bool>,
}

/// How much of a limit is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Usage {
    /// The use.
    pub used: u64,
    /// The limit; absent if there is none (`max`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

impl Usage {
    /// The limit, if it is reached.
    pub(crate) fn reached(self) -> Option<u64> {
        self.max.filter(|max| self.used >= *max)
    }
}

/// Whether a cgroup is frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Freezer {
    /// Whether freezing was requested of this cgroup: `cgroup.freeze`, on v1 `freezer.self_freezing`.
    pub requested: bool,
    /// Whether all its processes are frozen: `frozen` in `cgroup.events`, on v1 `freezer.state`.
    pub frozen: bool,
}

/// A process or thread in a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Member {
    /// The process; `tid` differs from `pid` if it is a thread, as in a threaded cgroup.
    pub task: Task,
    /// `zombie`, `leader-exited` (other threads are still running), `exiting`, `uninterruptible` (state D) or
    /// `kernel-thread`; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The kernel function in which an exiting or uninterruptible one sleeps, if the caller may read that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wchan: Option<String>,
}
