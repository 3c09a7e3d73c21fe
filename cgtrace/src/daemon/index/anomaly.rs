//! Anomalies: events and scan results that contradict the index because something was missed.

use std::collections::BTreeMap;

/// How an event or a scan contradicted the index. None is an error: each is handled in one defined way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// An event named an unknown hierarchy; the hierarchy is added.
    UnknownHierarchy,
    /// A mkdir of a cgroup that exists: the instance is unchanged.
    DuplicateMkdir,
    /// A mkdir of a cgroup that was removed: it stays removed.
    MkdirAfterRmdir,
    /// An rmdir of a cgroup that was removed.
    DuplicateRmdir,
    /// An rmdir of a cgroup whose mkdir was missed.
    UnknownRmdir,
    /// An rmdir of a cgroup with children, whose own rmdirs were missed.
    RmdirWithChildren,
    /// A rename of an unknown cgroup; the cgroup is added.
    UnknownRename,
    /// A rename that names another parent: the parent is unchanged.
    RenameToOtherParent,
    /// A mkdir or rename to the name of another cgroup: the name now resolves to the new one.
    NameTaken,
    /// An invalid leaf name: it is treated as unknown.
    InvalidLeaf,
    /// A cgroup with the id 0, or one that would be its own ancestor: it is ignored.
    InvalidParent,
    /// A mkdir, rmdir or rename of a root cgroup: it is ignored.
    RootAsChild,
    /// A hierarchy was created that exists.
    DuplicateHierarchy,
    /// An unknown hierarchy was destroyed or remounted.
    UnknownRoot,
    /// A task was moved, or a state changed, in an unknown cgroup of a scanned hierarchy.
    UnknownCgroup,
    /// A release of a cgroup that exists: its rmdir was missed.
    ReleaseWithoutRmdir,
    /// A scan was merged that was not begun, or whose hierarchy was replaced meanwhile: it is ignored.
    ScanNotBegun,
    /// A scan found a cgroup that is not connected to the root, because an ancestor was removed meanwhile: it
    /// is ignored.
    ScannedDetached,
    /// A scan did not find a cgroup that was renamed meanwhile: the cgroup and its descendants stay in the
    /// index.
    ScanMissedRenamed,
}

/// The number of times that each [`Anomaly`] occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnomalyCounts(BTreeMap<Anomaly, u64>);

impl AnomalyCounts {
    /// How often `anomaly` occurred.
    #[must_use]
    pub fn of(&self, anomaly: Anomaly) -> u64 {
        self.0.get(&anomaly).copied().unwrap_or_default()
    }

    /// How often any anomaly occurred.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The anomalies that occurred.
    #[must_use]
    pub fn occurred(&self) -> impl DoubleEndedIterator<Item = Anomaly> {
        self.0.keys().copied()
    }

    pub(super) fn count(&mut self, anomaly: Anomaly) {
        *self.0.entry(anomaly).or_default() += 1;
    }
}
