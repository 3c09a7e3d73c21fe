//! A row's text.

use std::time::Duration;

use crate::cli::{
    text,
    top::model::{Node, Order, Tree},
};

/// What happened to a cgroup a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    New,
    Removed,
    Unchanged,
}

impl Mark {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "+",
            Self::Removed => "-",
            Self::Unchanged => " ",
        }
    }
}

/// The headings of the columns but the first, and their widths.
pub const AGE: (&str, usize) = ("AGE", 13);
pub const PROCESSES: (&str, usize) = ("PROCS", 6);
pub const EVENTS: (&str, usize) = ("EVENTS", 7);
pub const CREATOR: (&str, usize) = ("CREATOR", 22);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    pub mark: Mark,
    /// How deep the row is in the tree.
    pub depth: usize,
    /// Whether rows are below it, and hidden.
    pub fold: &'static str,
    pub name: String,
    pub age: String,
    pub processes: String,
    pub events: Option<String>,
    pub creator: String,
}

impl Cells {
    /// At a time in ns since boot.
    pub fn of(tree: &Tree, id: u64, node: &Node, now: u64) -> Self {
        let mark = match node {
            node if !node.is_present() => Mark::Removed,
            node if node.is_new(now) => Mark::New,
            _ => Mark::Unchanged,
        };
        let is_folded = node.folded && tree.has_children(id);
        let hidden = node.total.cgroups - node.share().cgroups;
        let name = match node.label(id) {
            name if is_folded => format!("{name} (+{hidden})"),
            name => name,
        };
        Self {
            mark,
            depth: tree.depth(id),
            fold: match tree.has_children(id) {
                true if is_folded => "▸ ",
                true => "▾ ",
                false => "  ",
            },
            name,
            age: age(node, now),
            processes: processes(node),
            events: (tree.order() == Order::Activity).then(|| node.total.events.to_string()),
            creator: node.creator.as_deref().unwrap_or("-").to_owned(),
        }
    }
}

/// How long it has existed, or how long it existed. `> ` if it existed before the observation began.
fn age(node: &Node, now: u64) -> String {
    let until = node.removed_at.unwrap_or(now);
    let age = Duration::from_nanos(until.saturating_sub(node.since.boot_ns));
    // What a second changes is not shown: the screen is drawn once a second.
    let age = match age.as_secs() {
        0 => "0 s".to_owned(),
        seconds => text::duration(Duration::from_secs(seconds)),
    };
    if node.since.created { age } else { format!("> {age}") }
}

/// The number of processes; without the right to read it, what the events say.
fn processes(node: &Node) -> String {
    match (node.processes, node.populated) {
        _ if !node.is_present() => "-".to_owned(),
        (Some(processes), _) => processes.to_string(),
        (None, Some(true)) => "some".to_owned(),
        (None, Some(false)) => "0".to_owned(),
        (None, None) => "?".to_owned(),
    }
}
