//! The words that the program reads while it runs, written without a system call.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use aya::maps::MapData;
use cgtrace_common::{KEPT_WORDS, Kept, Wake};
use memmap2::{MmapOptions, MmapRaw};

use super::error::StartError;

/// The maps `WAKE` and `LOST`.
pub(super) struct Control {
    wake: MmapRaw,
    lost: MmapRaw,
}

impl Control {
    pub(super) fn new(wake: &MapData, lost: &MapData) -> Result<Self, StartError> {
        let words = Self {
            wake: map(wake, size_of::<AtomicU32>())
                .map_err(|source| StartError::Map { map: "WAKE", source })?,
            lost: map(lost, size_of::<AtomicU32>())
                .map_err(|source| StartError::Map { map: "LOST", source })?,
        };
        // Pinned ones may still be armed for a daemon that is gone.
        words.wake().store(Wake::Never as u32, Ordering::SeqCst);
        Ok(words)
    }

    fn wake(&self) -> &AtomicU32 {
        // SAFETY: the mapping is page-aligned, as long as the word, and instances as long as `self`; the other side
        // writes the word as a whole.
        unsafe { AtomicU32::from_ptr(self.wake.as_mut_ptr().cast()) }
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

/// The map `PERSISTED`: what the next daemon is to know, if the maps are pinned.
pub(super) struct PinnedControl(MmapRaw);

impl PinnedControl {
    pub(super) fn new(kept: &MapData) -> Result<Self, StartError> {
        let len = KEPT_WORDS as usize * size_of::<AtomicU64>();
        Ok(Self(map(kept, len).map_err(|source| StartError::Map { map: "PERSISTED", source })?))
    }

    fn word(&self, word: Kept) -> &AtomicU64 {
        let first: *mut u64 = self.0.as_mut_ptr().cast();
        // SAFETY: the mapping is page-aligned, has `KEPT_WORDS` words, among them every `Kept`, and instances as long as
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
