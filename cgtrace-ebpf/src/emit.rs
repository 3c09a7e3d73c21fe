//! Writes a record to its ring and wakes the daemon if it armed the wakeup.

use core::{ptr, slice};

use aya_ebpf::{
    Global,
    bindings::{BPF_NOEXIST, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    maps::RingBuf,
};
use aya_log_ebpf::warn;
use cgtrace_common::{Header, Kind, Loss, Wake, lost_of_key};

use crate::{
    maps::{
        ACTIVITY_RING, ACTIVITY_WAKE_BYTES, EXEC_PENDING, LIFECYCLE_RING, LIFECYCLE_WAKE_BYTES, LOSSES, LOST,
        LOST_OF, WAKE,
    },
    read::Unreadable,
};

/// Writes the filled part of the record to its ring, or counts it as lost.
///
/// # Safety
/// `record` begins with a [`Header`]. Its first `filled` bytes are initialised, and include the header.
#[inline(always)]
pub unsafe fn emit<T>(kind: Kind, record: *const T, filled: Result<usize, Unreadable>) {
    let (ring, threshold, full) = if kind.feeds_index() {
        (&LIFECYCLE_RING, &LIFECYCLE_WAKE_BYTES, Loss::LifecycleRingFull)
    } else {
        (&ACTIVITY_RING, &ACTIVITY_WAKE_BYTES, Loss::ActivityRingFull)
    };
    match filled {
        Ok(length) => {
            let record_header = record.cast::<Header>();
            // SAFETY: guaranteed by the caller.
            let record = unsafe { slice::from_raw_parts(record.cast::<u8>(), length) };
            match ring.output::<[u8]>(record, u64::from(BPF_RB_NO_WAKEUP)) {
                // These programs are preemptible, and the daemon that they wake could preempt them: see
                // `wake_for_exec`.
                Ok(()) if matches!(kind, Kind::Ancestry | Kind::Exec) => {}
                Ok(()) => wake(kind, ring, threshold),
                Err(error) => {
                    count(full);
                    // SAFETY: guaranteed by the caller.
                    count_by_hierarchy(unsafe { (*record_header).hierarchy_id }, kind.feeds_index());
                    log_ring_full(kind as u8, error);
                }
            }
        }
        Err(error) => unreadable(kind, error),
    }
}

/// Counts a record whose kernel structures could not be read.
#[inline(always)]
pub fn unreadable(kind: Kind, Unreadable(error): Unreadable) {
    count(if kind.feeds_index() { Loss::LifecycleReadFailed } else { Loss::ActivityReadFailed });
    log_unreadable(kind as u8, error);
}

/// Wakes the daemon if it armed the wakeup, once for each time it armed it.
#[inline(always)]
fn wake(kind: Kind, ring: &RingBuf, threshold: &Global<u64>) {
    let Some(word) = WAKE.get_ptr_mut(0) else { return };
    // SAFETY: a word of a live map; volatile, because the daemon writes it.
    let armed = unsafe { ptr::read_volatile(word) };
    if armed == Wake::Never as u32 {
        return;
    }
    if armed == Wake::AtNext as u32 && matches!(kind, Kind::Release) {
        return;
    }
    if armed == Wake::AtThreshold as u32 && ring.query(u64::from(BPF_RB_AVAIL_DATA)) <= threshold.load() {
        return;
    }
    // Only a commit can wake, and the record's own commit is done: the word must not be read before that
    // commit, or a daemon that arms in between would sleep although there is a record. So an empty record is
    // committed. Without room for it the word stays set, and the next record that finds room wakes the
    // daemon.
    let Some(empty) = ring.reserve::<u64>(0) else { return };
    // SAFETY: as above.
    unsafe { ptr::write_volatile(word, Wake::Never as u32) };
    empty.discard(u64::from(BPF_RB_FORCE_WAKEUP));
}

/// Notes that an exec was recorded, so that [`wake_for_exec`] wakes the daemon.
#[inline(always)]
pub fn note_exec() {
    if let Some(word) = EXEC_PENDING.get_ptr_mut(0) {
        // SAFETY: a word of a live map; volatile, because other CPUs write it.
        unsafe { ptr::write_volatile(word, 1) };
    }
}

/// Wakes the daemon if it armed the wakeup and an exec was recorded since.
///
/// While a task is preempted here by the daemon that it woke, the kernel skips this program for other tasks
/// on this CPU, so it checks twice.
#[inline(always)]
pub fn wake_for_exec() {
    let Some(word) = EXEC_PENDING.get_ptr_mut(0) else { return };
    for _ in 0..2 {
        // SAFETY: as in `note_exec`.
        unsafe {
            if ptr::read_volatile(word) == 0 {
                return;
            }
            ptr::write_volatile(word, 0);
        }
        wake(Kind::Exec, &ACTIVITY_RING, &ACTIVITY_WAKE_BYTES);
    }
}

/// Counts a lost record.
///
/// Not atomic, which would take inline assembly. The counter is per CPU, and programs that feed the index run
/// with interrupts off, so their counts are exact. One count is lost only if the preemptible exec program is
/// preempted between the two accesses by another run that loses a record.
#[inline(always)]
fn count(loss: Loss) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: an aligned word of a live map; volatile, because the daemon reads it.
        unsafe { ptr::write_volatile(counter, ptr::read_volatile(counter) + 1) };
    }
    if let Some(lost) = LOST.get_ptr_mut(0) {
        // SAFETY: as above.
        unsafe { ptr::write_volatile(lost, 1) };
    }
}

/// Counts a lost record of a hierarchy. Not inlined, so that a program contains it once.
#[inline(never)]
fn count_by_hierarchy(hierarchy_id: u32, feeds_index: bool) {
    let key = lost_of_key(hierarchy_id, feeds_index);
    if let Some(counter) = LOST_OF.get_ptr_mut(&key) {
        // SAFETY: as in `count`.
        unsafe { ptr::write_volatile(counter, ptr::read_volatile(counter) + 1) };
    } else if LOST_OF.insert(&key, &1, u64::from(BPF_NOEXIST)).is_err() {
        // The map is full, or another CPU inserted the entry in between. (The other CPUs' counters of a new
        // entry start at 0: `pcpu_init_value` in kernel/bpf/hashtab.c, 5.10.)
        count(if feeds_index { Loss::LifecycleUnassigned } else { Loss::ActivityUnassigned });
    }
}

/// Logs that a ring was full. Not inlined, to keep programs small. The log level is a constant to the
/// verifier, which removes the logging when it is off.
#[inline(never)]
fn log_ring_full(kind: u8, error: i32) {
    warn!((), "ring full: lost a record of kind {}: error {}", kind, error);
}

/// Logs that a kernel structure could not be read.
#[inline(never)]
fn log_unreadable(kind: u8, error: i32) {
    warn!((), "failed to read a kernel structure for a record of kind {}: error {}", kind, error);
}
