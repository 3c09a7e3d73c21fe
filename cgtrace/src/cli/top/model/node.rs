//! A cgroup of the tree.

use std::{collections::BTreeSet, sync::Arc};

use cgtrace_client::{paths, wire};

use crate::cli::text;

/// How long a cgroup counts as new after its creation, and how long a removed one is still shown.
pub const MARKED_NS: u64 = 5_000_000_000;

/// Where a row stands among its siblings: its rank by the current order, then its path. The id tells apart
/// instances of the same path.
pub type Position = (u64, Arc<[u8]>, u64);

/// The children of a cgroup, in the current order.
#[derive(Debug, Default)]
pub struct Children {
    pub all: BTreeSet<Position>,
    /// Those that the filter selects, or that lead to one that it selects. Empty without a filter.
    pub selected: BTreeSet<Position>,
}

/// Since when a cgroup exists, in ns since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    pub boot_ns: u64,
    /// Whether it was created then. Otherwise it existed already when the observation began.
    pub created: bool,
}

/// Sums over a cgroup and its descendants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub cgroups: i64,
    pub processes: i64,
    pub events: i64,
}

impl Totals {
    pub fn add(&mut self, other: Self) {
        self.cgroups += other.cgroups;
        self.processes += other.processes;
        self.events += other.events;
    }

    pub fn negative(self) -> Self {
        Self { cgroups: -self.cgroups, processes: -self.processes, events: -self.events }
    }
}

#[derive(Debug, Default)]
pub struct Node {
    /// Empty: unknown.
    pub path: Arc<[u8]>,
    /// The nearest ancestor in the tree. With patterns, that need not be the parent.
    pub parent: Option<u64>,
    /// Where the part of the path begins that the row shows.
    pub label_at: usize,
    pub since: Since,
    /// As text, escaped.
    pub creator: Option<Box<str>>,
    /// When it was removed, in ns since boot.
    pub removed_at: Option<u64>,
    /// As the last event says.
    pub populated: Option<bool>,
    /// How many processes it had when they were last read.
    pub processes: Option<u32>,
    /// Recent events about itself.
    pub events: i64,
    pub total: Totals,
    pub folded: bool,
    /// Whether the filter selects it.
    pub matches: bool,
    pub rank: u64,
    pub children: Children,
}

impl Node {
    pub fn new(path: Vec<u8>, since: Since, creator: Option<&wire::Task>) -> Self {
        let creator = creator.map(|task| text::task(task).into_boxed_str());
        Self { path: path.into(), since, creator, ..Self::default() }
    }

    /// A cgroup of a snapshot.
    pub fn of(cgroup: &wire::Cgroup) -> Self {
        let since = match (cgroup.created_at, cgroup.existed_at) {
            (Some(at), _) => Since { boot_ns: at.boot_ns, created: true },
            (None, at) => Since { boot_ns: at.unwrap_or_default().boot_ns, created: false },
        };
        let path = text::bytes(cgroup.path.as_deref(), cgroup.path_hex.as_deref());
        Self::new(path, since, cgroup.created_by.as_ref())
    }

    pub fn is_present(&self) -> bool {
        self.removed_at.is_none()
    }

    /// Whether it was created a moment ago.
    pub fn is_new(&self, now: u64) -> bool {
        self.is_present() && self.since.created && now.saturating_sub(self.since.boot_ns) < MARKED_NS
    }

    /// What it adds to the sums of its ancestors.
    pub fn share(&self) -> Totals {
        if self.is_present() {
            let processes = self.processes.map_or(0, i64::from);
            Totals { cgroups: 1, processes, events: self.events }
        } else {
            Totals::default()
        }
    }

    pub fn position(&self, id: u64) -> Position {
        (self.rank, Arc::clone(&self.path), id)
    }

    /// What the row shows: the path below the nearest ancestor in the tree, escaped.
    pub fn label(&self, id: u64) -> String {
        if self.path.is_empty() {
            return format!("(unknown, id {id})");
        }
        paths::escape(self.path.get(self.label_at..).unwrap_or_default())
    }
}
