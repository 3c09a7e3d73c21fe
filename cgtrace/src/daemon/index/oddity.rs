//! What does not fit: events that a kernel of which nothing was missed would not have given.

/// A way in which an event or a walk did not fit what was known. None is an error: each has its one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Oddity {
    /// An event of a hierarchy that was not known: it is known from there on.
    UnknownHierarchy,
    /// A cgroup was made that exists already: it keeps its life.
    MkdirTwice,
    /// A cgroup was made that was removed already: it stays removed.
    MkdirAfterRmdir,
    /// A cgroup was removed that was removed already.
    RmdirTwice,
    /// A cgroup was removed whose making was missed.
    RmdirUnknown,
    /// A cgroup was removed that had children: their removals were missed.
    RmdirWithChildren,
    /// A cgroup was renamed that was not known: it is known from there on.
    RenameUnknown,
    /// A cgroup was renamed under another parent than its own: it keeps its own.
    RenameElsewhere,
    /// A name was given that another cgroup has: the new one has it now.
    NameTaken,
    /// A name that no cgroup can have: it is treated as not known.
    ImpossibleName,
    /// A cgroup that would be its own ancestor, or has the id 0: left out.
    ImpossibleParent,
    /// A root was made, removed or renamed as if it were not one: nothing is done.
    RootAsChild,
    /// A hierarchy came to be that was there already.
    RootAddedTwice,
    /// A hierarchy went or changed that was not known.
    RootUnknown,
    /// A task was moved, or a state changed, in a cgroup that is not known although its hierarchy was walked.
    UnknownCgroup,
    /// A cgroup was released that still exists: its removal was missed.
    ReleaseOfLive,
    /// A walk was merged that was never begun, or whose hierarchy was replaced meanwhile: nothing is done.
    WalkNotBegun,
    /// A walk found a cgroup, but no way from the root to it: an ancestor was removed meanwhile, so it is left
    /// out.
    WalkedDetached,
    /// A walk did not find a cgroup that was renamed meanwhile: it and all below it are kept.
    WalkMissedRenamed,
}

impl Oddity {
    /// Every kind.
    pub const ALL: [Self; 19] = [
        Self::UnknownHierarchy,
        Self::MkdirTwice,
        Self::MkdirAfterRmdir,
        Self::RmdirTwice,
        Self::RmdirUnknown,
        Self::RmdirWithChildren,
        Self::RenameUnknown,
        Self::RenameElsewhere,
        Self::NameTaken,
        Self::ImpossibleName,
        Self::ImpossibleParent,
        Self::RootAsChild,
        Self::RootAddedTwice,
        Self::RootUnknown,
        Self::UnknownCgroup,
        Self::ReleaseOfLive,
        Self::WalkNotBegun,
        Self::WalkedDetached,
        Self::WalkMissedRenamed,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownHierarchy => "unknown-hierarchy",
            Self::MkdirTwice => "mkdir-twice",
            Self::MkdirAfterRmdir => "mkdir-after-rmdir",
            Self::RmdirTwice => "rmdir-twice",
            Self::RmdirUnknown => "rmdir-unknown",
            Self::RmdirWithChildren => "rmdir-with-children",
            Self::RenameUnknown => "rename-unknown",
            Self::RenameElsewhere => "rename-elsewhere",
            Self::NameTaken => "name-taken",
            Self::ImpossibleName => "impossible-name",
            Self::ImpossibleParent => "impossible-parent",
            Self::RootAsChild => "root-as-child",
            Self::RootAddedTwice => "root-added-twice",
            Self::RootUnknown => "root-unknown",
            Self::UnknownCgroup => "unknown-cgroup",
            Self::ReleaseOfLive => "release-of-live",
            Self::WalkNotBegun => "walk-not-begun",
            Self::WalkedDetached => "walked-detached",
            Self::WalkMissedRenamed => "walk-missed-renamed",
        }
    }
}

/// How often each [`Oddity`] was met, since the index began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OddityCounts([u64; Oddity::ALL.len()]);

impl OddityCounts {
    /// How often that one was met.
    #[must_use]
    pub const fn of(&self, oddity: Oddity) -> u64 {
        self.0[oddity as usize]
    }

    /// How often any was met.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Each with its count.
    pub fn iter(&self) -> impl Iterator<Item = (Oddity, u64)> + '_ {
        Oddity::ALL.into_iter().map(|oddity| (oddity, self.of(oddity)))
    }

    pub(super) const fn count(&mut self, oddity: Oddity) {
        self.0[oddity as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_has_its_own_count_and_word() {
        let mut counts = OddityCounts::default();
        for (place, oddity) in Oddity::ALL.into_iter().enumerate() {
            assert_eq!(place, oddity as usize);
            for _ in 0..=place {
                counts.count(oddity);
            }
            assert_eq!(counts.of(oddity), place as u64 + 1);
        }
        assert_eq!(counts.total(), counts.iter().map(|(_, count)| count).sum::<u64>());
        let words: BTreeSet<_> = Oddity::ALL.into_iter().map(Oddity::word).collect();
        assert_eq!(words.len(), Oddity::ALL.len());
    }
}
