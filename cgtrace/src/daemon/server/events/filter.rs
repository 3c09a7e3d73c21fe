//! What a subscriber asks for.

use std::collections::BTreeSet;

use super::pattern::{Patterns, TooCostly};
use crate::daemon::index::{Change, ChangedCgroup, HierarchyId, Kind};

/// What a subscriber asks for, in a form by which equal filters are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Empty: all.
    pub patterns: BTreeSet<String>,
    /// Empty: all.
    pub kinds: BTreeSet<Kind>,
    /// Empty: all.
    pub hierarchies: BTreeSet<HierarchyId>,
}

/// What is wanted, ready to be compared with changes.
#[derive(Debug)]
pub struct Filter {
    pub wanted: Wanted,
    pub patterns: Patterns,
}

impl Filter {
    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        let texts = self.wanted.patterns.iter().map(|pattern| size_of::<String>() + pattern.len());
        size_of::<Self>() + 2 * texts.sum::<usize>() + self.patterns.size()
    }

    pub fn matches(&self, change: &Change) -> Result<bool, TooCostly> {
        // What concerns the stream as a whole goes to everyone.
        if matches!(change.kind, Kind::Lost | Kind::Resynced) && self.wanted.kinds.is_empty() {
            return Ok(true);
        }
        Ok(self.wants_kind(change.kind)
            && change.cgroup.as_ref().is_none_or(|cgroup| self.wants(cgroup.hierarchy))
            && self.matches_path(change)?)
    }

    /// Whether a kind is among those asked for.
    pub fn wants_kind(&self, kind: Kind) -> bool {
        self.wanted.kinds.is_empty() || self.wanted.kinds.contains(&kind)
    }

    /// Whether a hierarchy is among those asked for.
    pub fn wants(&self, hierarchy: HierarchyId) -> bool {
        self.wanted.hierarchies.is_empty() || self.wanted.hierarchies.contains(&hierarchy)
    }

    fn matches_path(&self, change: &Change) -> Result<bool, TooCostly> {
        let matches = |cgroup: &ChangedCgroup| self.patterns.matches(cgroup.path.as_deref());
        match (&change.cgroup, &change.from) {
            // A rename concerns both paths, a move both cgroups.
            (Some(cgroup), Some(from)) => Ok(matches(cgroup)? || matches(from)?),
            (Some(cgroup), None) => matches(cgroup),
            (None, _) => Ok(true),
        }
    }
}
