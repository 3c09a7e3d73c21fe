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
        let cgroup = change.cgroup.as_ref().map(|cgroup| cgroup.path.as_deref());
        let from = change.from.as_ref().map(|from| from.path.as_deref());
        self.matches_parts(change.kind, selected, cgroup, from)
    }

    /// Whether an event matches whose hierarchy is selected or not: its kind, the path of its cgroup, and the
    /// path that it came from.
    pub fn matches_parts(
        &self,
        kind: Kind,
        is_on_selected: bool,
        cgroup: Option<Option<&[u8]>>,
        from: Option<Option<&[u8]>>,
    ) -> Result<bool, TooCostly> {
        // Events about the stream itself go to every subscriber that does not select kinds.
        if matches!(kind, Kind::Lost | Kind::Resynced) && self.criteria.kinds.is_empty() {
            return Ok(true);
        }
        Ok(self.selects_kind(kind) && is_on_selected && self.matches_paths(cgroup, from)?)
    }

    pub fn selects_kind(&self, kind: Kind) -> bool {
        self.criteria.kinds.is_empty() || self.criteria.kinds.contains(&kind)
    }

    pub fn selects_hierarchy(&self, hierarchy: HierarchyId) -> bool {
        self.criteria.hierarchies.is_empty() || self.criteria.hierarchies.contains(&hierarchy)
    }

    fn matches_paths(
        &self,
        cgroup: Option<Option<&[u8]>>,
        from: Option<Option<&[u8]>>,
    ) -> Result<bool, TooCostly> {
        match (cgroup, from) {
            // A rename concerns both paths, a move both cgroups.
            (Some(cgroup), Some(from)) => Ok(self.patterns.matches(cgroup)? || self.patterns.matches(from)?),
            (Some(cgroup), None) => self.patterns.matches(cgroup),
            (None, _) => Ok(true),
        }
    }
}
