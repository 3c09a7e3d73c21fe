//! Maps shared with the running program, accessed without system calls.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    sync::atomic::{AtomicU32, AtomicU64, Ordering, fence},
};

use aya::maps::MapData;
use cgtrace_common::{PERSISTED_WORDS, Persisted, Wake};
use memmap2::{MmapOptions, MmapRaw};

use super::error::ProbeStartError;

/// The maps `WAKE` and `LOST`.
pub(super) struct Control {
    wake: MmapRaw,
    lost: MmapRaw,
}

impl Control {
    pub(super) fn new(wake: &MapData, lost: &MapData) -> Result<Self, ProbeStartError> {
        let control = Self {
            wake: map(wake, size_of::<AtomicU32>())
                .map_err(|source| ProbeStartError::Map { map: "WAKE", source })?,
            lost: map(lost, size_of::<AtomicU32>())
                .map_err(|source| ProbeStartError::Map { map: "LOST", source })?,
        };
        // A pinned map may still be armed by the previous daemon.
        control.wake().store(Wake::Never as u32, Ordering::SeqCst);
        Ok(control)
    }

    fn wake(&self) -> &AtomicU32 {
        // SAFETY: the mapping is page-aligned, has the size of the word, and lives as long as `self`; the
        // program writes the word as a whole.
        unsafe { AtomicU32::from_ptr(self.wake.as_mut_ptr().cast()) }
    }

    /// Whether the program counted a loss since the last call.
    pub(super) fn take_lost(&self) -> bool {
        // SAFETY: as in `wake`.
        let lost = unsafe { AtomicU32::from_ptr(self.lost.as_mut_ptr().cast()) };
        lost.load(Ordering::Relaxed) != 0 && lost.swap(0, Ordering::SeqCst) != 0
    }

    /// Whether the wakeup is armed.
    pub(super) fn is_armed(&self) -> bool {
        self.wake().load(Ordering::SeqCst) != Wake::Never as u32
    }

    /// Arms the wakeup, unless it is already due.
    pub(super) fn arm(&self, wake: Wake, is_due: impl FnOnce() -> bool) -> bool {
        self.wake().store(wake as u32, Ordering::SeqCst);
        // Pairs with the program's commit, a full barrier between its record and its read of the word: either
        // the program sees the word, or this thread sees the record.
        fence(Ordering::SeqCst);
        if is_due() {
            self.wake().store(Wake::Never as u32, Ordering::SeqCst);
            return false;
        }
        true
    }
}

/// The map `PERSISTED`: state for the next daemon, if the maps are pinned.
pub(super) struct PersistedControl(MmapRaw);

impl PersistedControl {
    pub(super) fn new(map_data: &MapData) -> Result<Self, ProbeStartError> {
        let len = PERSISTED_WORDS as usize * size_of::<AtomicU64>();
        Ok(Self(map(map_data, len).map_err(|source| ProbeStartError::Map { map: "PERSISTED", source })?))
    }

    fn word(&self, word: Persisted) -> &AtomicU64 {
        let first: *mut u64 = self.0.as_mut_ptr().cast();
        // SAFETY: the mapping is page-aligned, has `PERSISTED_WORDS` words, more than `Persisted` has
        // variants, and lives as long as `self`.
        unsafe { AtomicU64::from_ptr(first.add(word as usize)) }
    }

    pub(super) fn get(&self, word: Persisted) -> u64 {
        self.word(word).load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, word: Persisted, value: u64) {
        self.word(word).store(value, Ordering::SeqCst);
    }
}

fn map(map: &MapData, len: usize) -> io::Result<MmapRaw> {
    MmapOptions::new().len(len).map_raw(map.fd().as_fd().as_raw_fd())
}
