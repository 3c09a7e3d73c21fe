//! Members of one kernel structure that lie near each other, copied by one call instead of one call each.
//!
//! A call of `bpf_probe_read_kernel` costs some 20 ns whatever it copies, as long as that is a few hundred bytes; a
//! lifecycle record needs twelve members of three structures. The loader sets where they begin and how far they
//! span. On a kernel whose members lie further apart than there is room, each is read by itself.

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};

use crate::{
    offsets::{
        CGROUP_NEAR_SPAN, CGROUP_NEAR_START, KERNFS_NEAR_SPAN, KERNFS_NEAR_START, TASK_NEAR_SPAN,
        TASK_NEAR_START,
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
