//! Members of one kernel structure that lie near each other, copied by one call instead of one call each.
//!
//! A call of `bpf_probe_read_kernel` costs some 20 ns whatever it copies, as long as that is a few hundred bytes; a
//! lifecycle record needs twelve members of three structures. The loader sets where they begin and how far they
//! span. On a kernel whose members lie further apart than there is room, each is read by itself.

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_get_current_cgroup_id, bpf_get_current_task, bpf_probe_read_kernel},
};
use cgtrace_common::Task;

use crate::{
    offsets::{
        CGROUP_NEAR_SPAN, CGROUP_NEAR_START, CRED_UID, KERNFS_NEAR_SPAN, KERNFS_NEAR_START, TASK_COMM,
        TASK_GROUP_LEADER, TASK_NEAR_SPAN, TASK_NEAR_START, TASK_PID, TASK_REAL_CRED, TASK_REAL_PARENT,
        TASK_START_BOOTTIME, TASK_TGID,
    },
    read::{self, Address, Unreadable},
};

/// The room for one structure's members. The loader knows it as `NEAR_ROOM`.
pub const ROOM: usize = 1024;

/// Room for the members, and for the last of them to begin at any place that the mask allows.
#[repr(C, align(8))]
pub struct Room([u8; ROOM + 16]);

/// Which members.
pub struct Region {
    start: &'static Global<u64>,
    span: &'static Global<u64>,
}

/// `cgroup`: `self.parent`, `level`, `kn`.
pub const CGROUP: Region = Region { start: &CGROUP_NEAR_START, span: &CGROUP_NEAR_SPAN };

/// `kernfs_node`: `id`, `name`.
pub const KERNFS_NODE: Region = Region { start: &KERNFS_NEAR_START, span: &KERNFS_NEAR_SPAN };

/// `task_struct`: `tgid`, `pid`, `real_parent`, `group_leader`, `start_boottime`, `real_cred`, `comm`.
pub const TASK: Region = Region { start: &TASK_NEAR_START, span: &TASK_NEAR_SPAN };

/// The members of one structure, copied.
pub struct Near {
    room: *const Room,
    base: Address,
    region: &'static Region,
}

impl Near {
    /// Copies the region of the structure at `base`.
    ///
    /// # Safety
    /// `room` is valid for writes for as long as the result is used, and nobody else's.
    #[inline(always)]
    pub unsafe fn copy(room: *mut Room, base: Address, region: &'static Region) -> Result<Self, Unreadable> {
        // The verifier knows the value; the mask says the same to one that does not.
        let span = region.span.load() & (ROOM as u64 - 1);
        if span != 0 {
            // SAFETY: the span is shorter than the room; the helper checks the source itself.
            let error =
                unsafe { bpf_probe_read_kernel(room.cast(), span as u32, read::place(base, region.start)) };
            if error != 0 {
                return Err(Unreadable(error as i32));
            }
        }
        Ok(Self { room, base, region })
    }

    /// The member at `offset` of the structure.
    ///
    /// `T` is made of integers or a pointer, has 16 bytes at most, and is aligned no more than the member.
    #[inline(always)]
    pub fn member<T>(&self, offset: &Global<u64>) -> Result<T, Unreadable> {
        if self.region.span.load() == 0 {
            return read::member(self.base, offset);
        }
        let at = offset.load().wrapping_sub(self.region.start.load()) & (ROOM as u64 - 1);
        // SAFETY: the place lies within the room, whose last 16 bytes the mask leaves to what begins before them. It
        // is aligned as the member is in the kernel, for the copy begins at a multiple of 8. Any bytes make a T.
        Ok(unsafe { (*self.room).0.as_ptr().add(at as usize).cast::<T>().read() })
    }
}

/// As [`read::current`], with `room` for all that is read of the task at once.
///
/// # Safety
/// Both are valid for writes and nobody else's.
#[inline(always)]
pub unsafe fn current(to: *mut Task, room: *mut Room) -> Result<(), Unreadable> {
    // SAFETY: the caller's promise; the helpers check what else they need.
    unsafe {
        let task = bpf_get_current_task() as Address;
        let near = Near::copy(room, task, &TASK)?;
        let leader: Address = near.member(&TASK_GROUP_LEADER)?;
        (*to).pid = near.member(&TASK_TGID)?;
        (*to).tid = near.member(&TASK_PID)?;
        (*to).ppid = read::member(near.member(&TASK_REAL_PARENT)?, &TASK_TGID)?;
        (*to).uid = read::member(near.member(&TASK_REAL_CRED)?, &CRED_UID)?;
        (*to).start_boot_ns = if leader == task {
            near.member(&TASK_START_BOOTTIME)?
        } else {
            read::member(leader, &TASK_START_BOOTTIME)?
        };
        (*to).cgroup_id = bpf_get_current_cgroup_id();
        // A kernel may leave the end of a longer, former comm behind the NUL; the reader cuts it off.
        // As two words: it stands behind pointers, and copying it byte by byte takes 16 loads.
        let comm: [u64; 2] = near.member(&TASK_COMM)?;
        (&raw mut (*to).comm).cast::<[u64; 2]>().write(comm);
    }
    Ok(())
}
