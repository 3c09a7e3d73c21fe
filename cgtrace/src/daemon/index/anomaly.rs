//! What does not fit: events that a kernel of which nothing was missed would not have given.

use std::collections::BTreeMap;

/// A way in which an event or a scan did not fit what was known. None is an error: each has its one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// An event of a hierarchy that was not known: it is known from there on.
    UnknownHierarchy,
    /// A cgroup was made that exists already: it keeps its instance.
    DuplicateMkdir,
    /// A cgroup was made that was removed already: it stays removed.
    MkdirAfterRmdir,
    /// A cgroup was removed that was removed already.
    DuplicateRmdir,
    /// A cgroup was removed whose making was missed.
    UnknownRmdir,
    /// A cgroup was removed that had children: their removals were missed.
    RmdirWithChildren,
    /// A cgroup was renamed that was not known: it is known from there on.
    UnknownRename,
    /// A cgroup was renamed under another parent than its own: it keeps its own.
    RenameToOtherParent,
    /// A name was given that another cgroup has: the new one has it now.
    NameTaken,
    /// A name that no cgroup can have: it is treated as not known.
    InvalidLeaf,
    /// A cgroup that would be its own ancestor, or has the id 0: left out.
    InvalidParent,
    /// A root was made, removed or renamed as if it were not one: nothing is done.
    RootAsChild,
    /// A hierarchy came to be that was there already.
    DuplicateHierarchy,
    /// A hierarchy went or changed that was not known.
    UnknownRoot,
    /// A task was moved, or a state changed, in a cgroup that is not known although its hierarchy was scanned.
    UnknownCgroup,
    /// A cgroup was released that still exists: its removal was missed.
    ReleaseWithoutRmdir,
    /// A scan was merged that was never begun, or whose hierarchy was replaced meanwhile: nothing is done.
    ScanNotBegun,
    /// A scan found a cgroup, but no way from the root to it: an ancestor was removed meanwhile, so it is left
    /// out.
    ScannedDetached,
    /// A scan did not find a cgroup that was renamed meanwhile: it and all below it are kept.
    ScanMissedRenamed,
}

/// How often each [`Anomaly`] was met, since the index began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnomalyCounts(BTreeMap<Anomaly, u64>);

impl AnomalyCounts {
    /// How often that one was met.
    #[must_use]
    pub fn of(&self, anomaly: Anomaly) -> u64 {
        self.0.get(&anomaly).copied().unwrap_or_default()
    }

    /// How often any was met.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Those that were met.
    #[must_use]
    pub fn met(&self) -> impl DoubleEndedIterator<Item = Anomaly> {
        self.0.keys().copied()
    }

    pub(super) fn count(&mut self, anomaly: Anomaly) {
        *self.0.entry(anomaly).or_default() += 1;
    }
}
