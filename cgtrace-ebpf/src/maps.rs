//! The maps that the program shares with the daemon.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use cgtrace_common::{BACKUP_PROGRAMS, Header, LOST_OF_ENTRIES, Loss, NAME_MAX, PERSISTED_WORDS, Task};

/// `BPF_F_MMAPABLE` of include/uapi/linux/bpf.h (5.5): the daemon maps it and needs no system call for an
/// access.
const MMAPABLE: u32 = 1 << 10;

/// Records that feed the index. The loader sets the size.
#[map]
pub static LIFECYCLE_RING: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// All other records. The loader sets the size.
#[map]
pub static ACTIVITY_RING: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// How many unread bytes in `LIFECYCLE_RING` wake the daemon, for
/// [`Wake::AtThreshold`](cgtrace_common::Wake::AtThreshold).
#[unsafe(no_mangle)]
pub static LIFECYCLE_WAKE_BYTES: Global<u64> = Global::new(u64::MAX);

/// Likewise in `ACTIVITY_RING`.
#[unsafe(no_mangle)]
pub static ACTIVITY_WAKE_BYTES: Global<u64> = Global::new(u64::MAX);

/// How many records were lost, by [`Loss`].
#[map]
pub static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

/// How many records were lost to a full ring, by [`lost_of_key`](cgtrace_common::lost_of_key).
#[map]
pub static LOST_OF: PerCpuHashMap<u64, u64> = PerCpuHashMap::with_max_entries(LOST_OF_ENTRIES, 0);

/// One word: set when [`LOSSES`] changes, so that the daemon need not read those counters each time.
#[map]
pub static LOST: Array<u32> = Array::with_max_entries(1, MMAPABLE);

/// One word: a [`Wake`](cgtrace_common::Wake).
#[map]
pub static WAKE: Array<u32> = Array::with_max_entries(1, MMAPABLE);

/// State that one daemon stores for the next, by [`Persisted`](cgtrace_common::Persisted). The program does
/// not use it; it is a map so that it is pinned and removed together with the others.
#[map]
pub static PERSISTED: Array<u64> = Array::with_max_entries(PERSISTED_WORDS, MMAPABLE);

/// The comms whose execs are recorded. The loader sets the size.
#[map]
pub static TRACKED_COMMS: HashMap<[u8; 16], u8> = HashMap::with_max_entries(1, 0);

/// One word: set while an exec was recorded and [`WAKE`] was not checked yet.
#[map]
pub static EXEC_PENDING: Array<u32> = Array::with_max_entries(1, 0);

/// The last exec that a program handled, by the low bits of its tid, which differ for execs in progress.
#[map]
pub static EXECS: Array<ExecId> = Array::with_max_entries(EXECS_LEN, 0);

/// How many entries [`EXECS`] has: a power of two.
pub const EXECS_LEN: u32 = 1 << 14;

/// How many execs each backup program handled because the programs before it were skipped.
#[map]
pub static RECOVERED: PerCpuArray<u64> = PerCpuArray::with_max_entries(BACKUP_PROGRAMS, 0);

/// Identifies one exec of one task: tids are reused, and a task can exec more than once.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct ExecId {
    /// `task->start_boottime`
    pub start_boot_ns: u64,
    /// `task->self_exec_id`, which each exec increments.
    pub number: u64,
}

/// A record that ends with a leaf name: too long for the stack's 512 bytes.
#[repr(C)]
pub struct LeafRecord {
    pub header: Header,
    pub by: Task,
    /// The longest name, its NUL, and one byte to detect a longer name.
    pub name: [u8; NAME_MAX + 2],
}

/// One [`LeafRecord`] per CPU for each program that emits them: mkdir, rmdir, rename.
///
/// The kernel fires these tracepoints under its spin lock `trace_cgroup_path_lock` with interrupts off
/// (`TRACE_CGROUP_PATH` in kernel/cgroup/cgroup-internal.h), so they cannot interrupt each other. The
/// tracepoints of kernel/sched are preemptible since 7.x, so their records are built on the stack.
#[map]
pub static SCRATCH: PerCpuArray<LeafRecord> = PerCpuArray::with_max_entries(3, 0);
