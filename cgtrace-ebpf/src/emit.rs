//! Putting a record into its ring, and waking the daemon if it is to be woken.

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
        ACTIVITY_RING, ACTIVITY_RING_HALF, EXECUTED, LIFECYCLE_RING, LIFECYCLE_RING_HALF, LOSSES, LOST,
        LOST_OF, WAKE,
    },
    read::Unreadable,
};

/// Emits the record, as far as it was filled, or counts that it could not be.
///
/// # Safety
/// `record` begins with a [`Header`]. Its first bytes, as many as `filled` says, are initialised; that is at least a
/// header.
#[inline(always)]
pub unsafe fn emit<T>(kind: Kind, record: *const T, filled: Result<usize, Unreadable>) {
    let (ring, half, full) = if kind.feeds_index() {
        (&LIFECYCLE_RING, &LIFECYCLE_RING_HALF, Loss::LifecycleRingFull)
    } else {
        (&ACTIVITY_RING, &ACTIVITY_RING_HALF, Loss::ActivityRingFull)
    };
    match filled {
        Ok(length) => {
            let record_header = record.cast::<Header>();
            // SAFETY: the caller's promise.
            let record = unsafe { slice::from_raw_parts(record.cast::<u8>(), length) };
            match ring.output::<[u8]>(record, u64::from(BPF_RB_NO_WAKEUP)) {
                // Those programs may be preempted, and the daemon that they woke would do it: see `bell`.
                Ok(()) if matches!(kind, Kind::Ancestry | Kind::Exec) => {}
                Ok(()) => wake(kind, ring, half),
                Err(error) => {
                    count(full);
                    // SAFETY: the caller's promise.
                    count_of(unsafe { (*record_header).hierarchy_id }, kind.feeds_index());
                    no_room(kind as u8, error);
                }
            }
        }
        Err(error) => unreadable(kind, error),
    }
}

/// Counts a record that could not be filled.
#[inline(always)]
pub fn unreadable(kind: Kind, Unreadable(error): Unreadable) {
    count(if kind.feeds_index() { Loss::LifecycleReadFailed } else { Loss::ActivityReadFailed });
    not_read(kind as u8, error);
}

/// Wakes the daemon if it has asked for that, once for each time it asked.
#[inline(always)]
fn wake(kind: Kind, ring: &RingBuf, half: &Global<u64>) {
    let Some(word) = WAKE.get_ptr_mut(0) else { return };
    // SAFETY: a word of a live map; volatile, because the daemon writes it.
    let armed = unsafe { ptr::read_volatile(word) };
    if armed == Wake::Never as u32 {
        return;
    }
    if armed == Wake::AtNext as u32 && matches!(kind, Kind::Release) {
        return;
    }
    if armed == Wake::AtHalf as u32 && ring.query(u64::from(BPF_RB_AVAIL_DATA)) <= half.load() {
        return;
    }
    // Only a commit can wake, and the record's own is done: before it nobody may look at the word, or a daemon
    // that arms in between would sleep on a record. So an empty one is committed to wake. Without room for it
    // the word stays set, and the next record that finds room wakes.
    let Some(bell) = ring.reserve::<u64>(0) else { return };
    // SAFETY: as above.
    unsafe { ptr::write_volatile(word, Wake::Never as u32) };
    bell.discard(u64::from(BPF_RB_FORCE_WAKEUP));
}

/// Notes that an exec was recorded, which [`bell`] is to wake for.
#[inline(always)]
pub fn executed() {
    if let Some(word) = EXECUTED.get_ptr_mut(0) {
        // SAFETY: a word of a live map; volatile, because other CPUs write it.
        unsafe { ptr::write_volatile(word, 1) };
    }
}

/// Wakes the daemon if it has asked for that and an exec was recorded since.
///
/// A task that is preempted here by the daemon it woke keeps other tasks on this CPU from running it, so it looks again.
#[inline(always)]
pub fn bell() {
    let Some(word) = EXECUTED.get_ptr_mut(0) else { return };
    for _ in 0..2 {
        // SAFETY: as in `executed`.
        unsafe {
            if ptr::read_volatile(word) == 0 {
                return;
            }
            ptr::write_volatile(word, 0);
        }
        wake(Kind::Exec, &ACTIVITY_RING, &ACTIVITY_RING_HALF);
    }
}

/// Counts a lost record.
///
/// Not atomic: that would take inline assembly. The counter is this CPU's, and what feeds the index runs with
/// interrupts off, so its counts are exact. Only the preemptible program of an exec that is preempted between
/// these two accesses, by one that loses a record too, costs one count.
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
fn count_of(hierarchy_id: u32, feeds_index: bool) {
    let key = lost_of_key(hierarchy_id, feeds_index);
    if let Some(counter) = LOST_OF.get_ptr_mut(&key) {
        // SAFETY: as in `count`.
        unsafe { ptr::write_volatile(counter, ptr::read_volatile(counter) + 1) };
    } else if LOST_OF.insert(&key, &1, u64::from(BPF_NOEXIST)).is_err() {
        // The map is full, or another CPU inserted the entry in between. (The other CPUs' counters of a new entry
        // begin with 0: `pcpu_init_value` in kernel/bpf/hashtab.c, 5.10.)
        count(if feeds_index { Loss::LifecycleUnassigned } else { Loss::ActivityUnassigned });
    }
}

/// Logs that a ring had no room. Not inlined, so that it stands in a program only once; the log level is a
/// constant to the verifier, which removes all of it when it is off.
#[inline(never)]
fn no_room(kind: u8, error: i32) {
    warn!((), "no room in the ring for a record of kind {}: error {}", kind, error);
}

/// Logs that a kernel structure could not be read.
#[inline(never)]
fn not_read(kind: u8, error: i32) {
    warn!((), "a kernel structure of kind {} could not be read: error {}", kind, error);
}
