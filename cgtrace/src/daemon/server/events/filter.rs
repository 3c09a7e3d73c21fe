//! Filters of subscribers.

use std::collections::BTreeSet;

use super::pattern::{Patterns, TooCostly};
use crate::daemon::index::{Change, HierarchyId, Kind};

/// The criteria of a subscriber; ordered, to find equal filters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Criteria {
    /// Empty means all.
    pub patterns: BTreeSet<String>,
    /// Empty means all.
    pub kinds: BTreeSet<Kind>,
    /// Empty means all.
    pub hierarchies: BTreeSet<HierarchyId>,
}

/// The criteria with compiled patterns.
#[derive(Debug)]
pub struct Filter {
    pub criteria: Criteria,
    pub patterns: Patterns,
}

impl Filter {
    /// The size in memory, in bytes.
    pub fn size(&self) -> usize {
        let texts = self.criteria.patterns.iter().map(|pattern| size_of::<String>() + pattern.len());
        size_of::<Self>() + 2 * texts.sum::<usize>() + self.patterns.size()
    }

    pub fn matches(&self, change: &Change) -> Result<bool, TooCostly> {
        let selected = change.cgroup.as_ref().is_none_or(|cgroup| self.selects_hierarchy(cgroup.hierarchy));
        let paths = change.cgroup.iter().chain(&change.from).map(|cgroup| cgroup.path.as_deref());
        self.matches_parts(change.kind, selected, paths)
    }

    /// Whether an event matches whose hierarchy is selected or not: by its kind, and by the paths of its
    /// cgroup and of the one that it came from.
    pub fn matches_parts<'a>(
        &self,
        kind: Kind,
        is_on_selected: bool,
        paths: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<bool, TooCostly> {
        // Events about the stream itself go to every subscriber that does not select kinds.
        if matches!(kind, Kind::Lost | Kind::Resynced) && self.criteria.kinds.is_empty() {
            return Ok(true);
        }
        if !self.selects_kind(kind) || !is_on_selected {
            return Ok(false);
        }
        // A rename concerns both paths, a move both cgroups. An event without a cgroup concerns everybody.
        let mut concerns_none = true;
        for path in paths {
            concerns_none = false;
            if self.patterns.matches(path)? {
                return Ok(true);
            }
        }
        Ok(concerns_none)
    }

    pub fn selects_kind(&self, kind: Kind) -> bool {
        self.criteria.kinds.is_empty() || self.criteria.kinds.contains(&kind)
    }

    pub fn selects_hierarchy(&self, hierarchy: HierarchyId) -> bool {
        self.criteria.hierarchies.is_empty() || self.criteria.hierarchies.contains(&hierarchy)
    }
}
