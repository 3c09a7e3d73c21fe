//! The words that the program reads while it runs, written without a system call.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use aya::maps::MapData;
use cgtrace_common::{KEPT_WORDS, Kept, Kind, Wake};
use memmap2::{MmapOptions, MmapRaw};

use super::StartError;

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(u64);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Every kind.
    pub const ALL: Self = Self(u64::MAX);

    /// These and that one.
    #[must_use]
    pub const fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    /// These but that one.
    #[must_use]
    pub const fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind as u8))
    }

    /// Whether that one is among them.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }
}

/// The maps `WAKE`, `WANTED` and `LOST`.
pub(super) struct Words {
    wake: MmapRaw,
    wanted: MmapRaw,
    lost: MmapRaw,
}

impl Words {
    pub(super) fn new(wake: &MapData, wanted: &MapData, lost: &MapData) -> Result<Self, StartError> {
        let words = Self {
            wake: map(wake, size_of::<AtomicU32>())
                .map_err(|source| StartError::Map { map: "WAKE", source })?,
            wanted: map(wanted, size_of::<AtomicU64>())
                .map_err(|source| StartError::Map { map: "WANTED", source })?,
            lost: map(lost, size_of::<AtomicU32>())
                .map_err(|source| StartError::Map { map: "LOST", source })?,
        };
        // Pinned ones may still be armed for a daemon that is gone.
        words.wake().store(Wake::Never as u32, Ordering::SeqCst);
        Ok(words)
    }

    fn wake(&self) -> &AtomicU32 {
        // SAFETY: the mapping is page-aligned, as long as the word, and lives as long as `self`; the other side
        // writes the word as a whole.
        unsafe { AtomicU32::from_ptr(self.wake.as_mut_ptr().cast()) }
    }

    pub(super) fn want(&self, kinds: Kinds) {
        // SAFETY: as in `wake`; nobody else writes this word.
        unsafe { AtomicU64::from_ptr(self.wanted.as_mut_ptr().cast()) }.store(kinds.0, Ordering::Relaxed);
    }

    /// Whether the program counted a loss since the last look.
    pub(super) fn take_lost(&self) -> bool {
        // SAFETY: as in `wake`.
        let lost = unsafe { AtomicU32::from_ptr(self.lost.as_mut_ptr().cast()) };
        lost.load(Ordering::Relaxed) != 0 && lost.swap(0, Ordering::SeqCst) != 0
    }

    /// Whether the program is still to wake us.
    pub(super) fn is_armed(&self) -> bool {
        self.wake().load(Ordering::SeqCst) != Wake::Never as u32
    }

    /// Arms, unless the moment has come already.
    pub(super) fn arm(&self, wake: Wake, is_due: impl FnOnce() -> bool) -> bool {
        self.wake().store(wake as u32, Ordering::SeqCst);
        // Pairs with the program's commit, which is a full barrier between its record and its look at the word:
        // either it sees the word, or this sees the record.
        fence(Ordering::SeqCst);
        if is_due() {
            self.wake().store(Wake::Never as u32, Ordering::SeqCst);
            return false;
        }
        true
    }
}

/// The map `KEPT`: what the next daemon is to know, if the maps are pinned.
pub(super) struct KeptWords(MmapRaw);

impl KeptWords {
    pub(super) fn new(kept: &MapData) -> Result<Self, StartError> {
        let len = KEPT_WORDS as usize * size_of::<AtomicU64>();
        Ok(Self(map(kept, len).map_err(|source| StartError::Map { map: "KEPT", source })?))
    }

    fn word(&self, word: Kept) -> &AtomicU64 {
        let first: *mut u64 = self.0.as_mut_ptr().cast();
        // SAFETY: the mapping is page-aligned, has `KEPT_WORDS` words, among them every `Kept`, and lives as long as
        // `self`.
        unsafe { AtomicU64::from_ptr(first.add(word as usize)) }
    }

    pub(super) fn get(&self, word: Kept) -> u64 {
        self.word(word).load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, word: Kept, value: u64) {
        self.word(word).store(value, Ordering::SeqCst);
    }
}

fn map(map: &MapData, len: usize) -> io::Result<MmapRaw> {
    MmapOptions::new().len(len).map_raw(map.fd().as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_kinds_holds_what_was_put_in() {
        let kinds = Kinds::from_iter([Kind::Attach, Kind::Exec]);
        for kind in Kind::EVENTS {
            assert_eq!(kinds.contains(kind), matches!(kind, Kind::Attach | Kind::Exec), "{kind:?}");
            assert!(Kinds::ALL.contains(kind));
            assert_eq!(Kinds::ALL.without(Kind::Release).contains(kind), kind != Kind::Release);
            assert!(!Kinds::NONE.contains(kind));
        }
    }
}
