//! The order of siblings.

use clap::ValueEnum;

use super::node::Node;

/// What siblings are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// By name
    #[default]
    Name,
    /// The youngest first
    Age,
    /// The one with the most processes, in itself and below, first
    Processes,
    /// The one with the most recent events, in itself and below, first
    Activity,
}

impl Order {
    pub fn next(self) -> Self {
        match self {
            Self::Name => Self::Age,
            Self::Age => Self::Processes,
            Self::Processes => Self::Activity,
            Self::Activity => Self::Name,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Age => "age",
            Self::Processes => "processes",
            Self::Activity => "activity",
        }
    }

    /// The lowest comes first; siblings of the same rank are sorted by name.
    pub fn rank(self, node: &Node) -> u64 {
        let descending = |number: i64| u64::MAX - u64::try_from(number).unwrap_or(0);
        match self {
            Self::Name => 0,
            Self::Age => u64::MAX - node.since.boot_ns,
            Self::Processes => descending(node.total.processes),
            Self::Activity => descending(node.total.events),
        }
    }
}
