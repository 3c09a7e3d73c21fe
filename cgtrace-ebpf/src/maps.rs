//! What the program shares with the daemon.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf},
};
use cgtrace_common::{Header, KEPT_WORDS, LOST_OF_ENTRIES, Loss, NAME_MAX, SPARES, Task};

/// `BPF_F_MMAPABLE` of include/uapi/linux/bpf.h (5.5): the daemon writes such a map without a system call.
const MMAPABLE: u32 = 1 << 10;

/// What the index must know of. The loader sets its size.
#[map]
pub static LIFECYCLE_RING: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// What is only told. The loader sets its size.
#[map]
pub static ACTIVITY_RING: RingBuf = RingBuf::with_byte_size(1 << 12, 0);

/// Half of `LIFECYCLE_RING`'s size, in bytes.
#[unsafe(no_mangle)]
pub static LIFECYCLE_RING_HALF: Global<u64> = Global::new(u64::MAX);

/// Half of `ACTIVITY_RING`'s size, in bytes.
#[unsafe(no_mangle)]
pub static ACTIVITY_RING_HALF: Global<u64> = Global::new(u64::MAX);

/// How many records were lost, by [`Loss`].
#[map]
pub static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

/// How many records found no room in a ring, by [`lost_of_key`](cgtrace_common::lost_of_key).
#[map]
pub static LOST_OF: PerCpuHashMap<u64, u64> = PerCpuHashMap::with_max_entries(LOST_OF_ENTRIES, 0);

/// One word: not 0 once anything was counted in [`LOSSES`], so that the daemon need not ask for those at every look.
#[map]
pub static LOST: Array<u32> = Array::with_max_entries(1, MMAPABLE);

/// One word: a [`Wake`](cgtrace_common::Wake).
#[map]
pub static WAKE: Array<u32> = Array::with_max_entries(1, MMAPABLE);

/// Control that the daemon keeps for the next one, by [`Kept`](cgtrace_common::Kept). Nothing here reads or writes them:
/// they are among these maps because they are pinned with them, and end with them.
#[map]
pub static PERSISTED: Array<u64> = Array::with_max_entries(KEPT_WORDS, MMAPABLE);

/// The comms whose exec is told of. The loader sets its size.
#[map]
pub static TRACKED_COMMS: HashMap<[u8; 16], u8> = HashMap::with_max_entries(1, 0);

/// One word: not 0 while the record of an exec was not yet followed by a look at [`WAKE`].
#[map]
pub static EXECUTED: Array<u32> = Array::with_max_entries(1, 0);

/// The last exec that a program has dealt with, by the last bits of its tid: no two that are in progress share them.
#[map]
pub static EXECS: Array<ExecId> = Array::with_max_entries(EXECS_LEN, 0);

/// How many entries [`EXECS`] has: a power of two.
pub const EXECS_LEN: u32 = 1 << 14;

/// How many execs each stand-in has dealt with because the programs before it were skipped.
#[map]
pub static SPARED: PerCpuArray<u64> = PerCpuArray::with_max_entries(SPARES, 0);

/// One exec of one task: a tid is used again, and a task executes more than once.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct ExecId {
    /// `task->start_boottime`
    pub start_boot_ns: u64,
    /// `task->self_exec_id`, which each exec raises.
    pub number: u64,
}

/// A record that ends with a leaf name: too long for the stack's 512 bytes.
#[repr(C)]
pub struct Named {
    pub header: Header,
    pub by: Task,
    /// The longest name, its NUL, and one byte by which a longer one shows itself.
    pub name: [u8; NAME_MAX + 2],
}

/// One [`Named`] a program that makes such records: mkdir, rmdir, rename.
///
/// Each has a slot of its own and a CPU of its own. The kernel fires these tracepoints under its spin lock
/// `trace_cgroup_path_lock` with interrupts off (`TRACE_CGROUP_PATH` in kernel/cgroup/cgroup-internal.h), so
/// none of them is interrupted by another. The tracepoints of kernel/sched are preemptible since 7.x, and their
/// records are made on the stack.
#[map]
pub static SCRATCH: PerCpuArray<Named> = PerCpuArray::with_max_entries(3, 0);
