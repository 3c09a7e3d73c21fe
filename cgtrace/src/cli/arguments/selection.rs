//! Which events are printed, and how their rows look.

use cgtrace_client::wire::EventKind;
use clap::{Args, builder::PossibleValuesParser};

fn kind() -> PossibleValuesParser {
    PossibleValuesParser::new(EventKind::KNOWN.map(|kind| kind.as_str().to_owned()))
}

/// The options `--kind` and `--all`.
#[derive(Debug, Args)]
pub struct KindOptions {
    /// Only events of these kinds, like mkdir,rmdir [default: creations, removals, renames, moves and losses]
    #[arg(id = "kinds", long = "kind", value_name = "KIND", value_delimiter = ',', value_parser = kind())]
    pub given: Vec<String>,
    /// Events of all kinds
    #[arg(long, conflicts_with = "kinds")]
    pub all: bool,
}

impl KindOptions {
    pub const fn is_default(&self) -> bool {
        !self.all && self.given.is_empty()
    }

    /// The kinds as in a call: absent, if all are selected.
    pub fn to_wire(&self) -> Option<Vec<String>> {
        match (self.all, self.given.as_slice()) {
            (true, _) => None,
            (false, []) => Some(DEFAULT_KINDS.iter().map(|kind| kind.as_str().to_owned()).collect()),
            (false, given) => Some(given.to_vec()),
        }
    }
}

/// The lifecycle of cgroups, the moves of processes between them, and what is missing.
const DEFAULT_KINDS: [EventKind; 9] = [
    EventKind::Mkdir,
    EventKind::Rmdir,
    EventKind::Rename,
    EventKind::Attach,
    EventKind::Transfer,
    EventKind::HierarchyCreated,
    EventKind::HierarchyDestroyed,
    EventKind::Lost,
    EventKind::Resynced,
];

/// The options `--utc` and `--wide`.
#[derive(Clone, Copy, Debug, Args)]
pub struct LayoutOptions {
    /// Print times in UTC instead of local time
    #[arg(long)]
    pub utc: bool,
    #[command(flatten)]
    pub wide: WideOption,
}

/// The option `--wide`.
#[derive(Clone, Copy, Debug, Args)]
pub struct WideOption {
    /// On a terminal: shorten nothing to its width
    #[arg(id = "wide", long = "wide")]
    pub given: bool,
}
