//! Decodes records into [`Event`]s. Any bytes are accepted without panicking.

use bytemuck::Pod;
use cgtrace_common::{
    ANCESTORS_MAX, CgroupMembership, Header, HierarchyRoot, Kind, MEMBERSHIPS_MAX, NAME_MAX, Parent, Task,
    VERSION, flag,
};
use thiserror::Error;

use super::controllers::Controllers;
use crate::daemon::index::{CgroupId, Child, Event, Hierarchy, HierarchyId, Key, Leaf, What};

/// Why a record is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A part extends beyond the end of the record.
    #[error("{len} bytes left, expected at least {part}")]
    Short {
        /// How many bytes are left.
        len: usize,
        /// The size of the part.
        part: usize,
    },
    /// The length in the header is wrong.
    #[error("the header claims {header} bytes, but there are {len}")]
    Length {
        /// The length in the header.
        header: u32,
        /// How many bytes there are.
        len: usize,
    },
    /// The layout is of another version.
    #[error("the layout has version {version}, expected {VERSION}")]
    Version {
        /// The record's version.
        version: u8,
    },
    /// The kind is unknown.
    #[error("unknown kind {kind}")]
    Kind {
        /// The record's kind.
        kind: u8,
    },
    /// The tail has an invalid length.
    #[error("invalid length {len} of the tail of a record of kind {kind:?}")]
    Tail {
        /// The record's kind.
        kind: Kind,
        /// The tail's length in bytes.
        len: usize,
    },
}

/// The unread part of a record.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    /// Takes the next part.
    fn take<T: Pod>(&mut self) -> Result<T, DecodeError> {
        let (part, rest) = self
            .0
            .split_at_checked(size_of::<T>())
            .ok_or(DecodeError::Short { len: self.0.len(), part: size_of::<T>() })?;
        self.0 = rest;
        Ok(bytemuck::pod_read_unaligned(part))
    }

    fn take_task(&mut self) -> Result<Task, DecodeError> {
        let mut task: Task = self.take()?;
        // The end of a previous, longer comm may be left after the NUL.
        let end = task.comm.iter().position(|byte| *byte == 0).unwrap_or(task.comm.len());
        task.comm[end..].fill(0);
        Ok(task)
    }

    fn take_parent(&mut self) -> Result<Option<Parent>, DecodeError> {
        let parent: Parent = self.take()?;
        Ok((parent.start_boot_ns != 0).then_some(parent))
    }

    fn take_leaf(&mut self, kind: Kind, flags: u16) -> Result<Leaf, DecodeError> {
        let truncated = flags & flag::NAME_TRUNCATED != 0;
        let bytes = self.take_rest();
        // The name is empty only if it could not be read.
        if bytes.len() > NAME_MAX || bytes.is_empty() && !truncated {
            return Err(DecodeError::Tail { kind, len: bytes.len() });
        }
        Ok(Leaf { bytes: bytes.into(), truncated })
    }

    fn take_hierarchy(&mut self, id: u32, controllers: &Controllers) -> Result<Hierarchy, DecodeError> {
        let HierarchyRoot { controllers: mask } = self.take()?;
        Ok(controllers.hierarchy(HierarchyId(id), mask, self.take_rest()))
    }

    fn take_memberships(&mut self) -> Result<Box<[Key]>, DecodeError> {
        let count = self.0.len() / size_of::<CgroupMembership>();
        if count > MEMBERSHIPS_MAX {
            return Err(DecodeError::Tail { kind: Kind::Exec, len: self.0.len() });
        }
        (0..count)
            .map(|_| {
                let CgroupMembership { hierarchy_id, reserved: _, cgroup_id } = self.take()?;
                Ok(Key { hierarchy: HierarchyId(hierarchy_id), id: CgroupId(cgroup_id) })
            })
            .collect()
    }

    fn take_ancestors(&mut self) -> Result<Box<[Task]>, DecodeError> {
        let count = self.0.len() / size_of::<Task>();
        if count > ANCESTORS_MAX {
            return Err(DecodeError::Tail { kind: Kind::Ancestry, len: self.0.len() });
        }
        (0..count).map(|_| self.take_task()).collect()
    }

    fn take_rest(&mut self) -> &[u8] {
        std::mem::take(&mut self.0)
    }
}

/// Decodes a complete record.
pub fn decode(record: &[u8], controllers: &Controllers) -> Result<Event, DecodeError> {
    let mut rest = Rest(record);
    let header: Header = rest.take()?;
    let Header { length, version, kind, flags, boot_ns, hierarchy_id, level, cgroup_id, parent_id } = header;
    if version != VERSION {
        return Err(DecodeError::Version { version });
    }
    if usize::try_from(length) != Ok(record.len()) {
        return Err(DecodeError::Length { header: length, len: record.len() });
    }
    let kind = Kind::of_record(kind).ok_or(DecodeError::Kind { kind })?;
    let key = Key { hierarchy: HierarchyId(hierarchy_id), id: CgroupId(cgroup_id) };
    let parent = CgroupId(parent_id);
    let what = match kind {
        Kind::Mkdir | Kind::Rmdir | Kind::Rename => {
            let by = rest.take_task()?;
            let child = Child { key, parent, level, leaf: rest.take_leaf(kind, flags)?, by };
            match kind {
                Kind::Mkdir => What::Mkdir(child),
                Kind::Rmdir => What::Rmdir(child),
                _ => What::Rename(child),
            }
        }
        Kind::Release => What::Release { key },
        Kind::Attach => {
            let threadgroup = flags & flag::THREADGROUP != 0;
            let by = rest.take_task()?;
            What::Attach { key, task: rest.take_task()?, parent: rest.take_parent()?, threadgroup, by }
        }
        Kind::Transfer => {
            let by = rest.take_task()?;
            What::Transfer { key, task: rest.take_task()?, parent: rest.take_parent()?, by }
        }
        Kind::Fork => {
            let by = rest.take_task()?;
            let task = rest.take_task()?;
            rest.take_parent()?;
            What::Fork { key, task, by, sibling: flags & flag::SIBLING != 0 }
        }
        Kind::Populated | Kind::Empty => What::Populated { key, populated: kind == Kind::Populated },
        Kind::Freeze | Kind::Thaw => {
            What::Freeze { key, freeze: kind == Kind::Freeze, by: rest.take_task()? }
        }
        Kind::Frozen | Kind::Thawed => What::Frozen { key, frozen: kind == Kind::Frozen },
        Kind::HierarchyCreated => {
            let by = rest.take_task()?;
            What::HierarchyCreated { hierarchy: rest.take_hierarchy(hierarchy_id, controllers)?, by }
        }
        Kind::HierarchyDestroyed => {
            rest.take_hierarchy(hierarchy_id, controllers)?;
            What::HierarchyDestroyed { id: key.hierarchy }
        }
        Kind::Remount => {
            let by = rest.take_task()?;
            What::Remount { hierarchy: rest.take_hierarchy(hierarchy_id, controllers)?, by }
        }
        Kind::Exec => What::Exec { task: rest.take_task()?, memberships: rest.take_memberships()? },
        Kind::Lost | Kind::Resynced => return Err(DecodeError::Kind { kind: header.kind }),
        Kind::Ancestry => What::Ancestry { task: rest.take_task()?, ancestors: rest.take_ancestors()? },
    };
    match rest.0.len() {
        0 => Ok(Event { boot_ns, what }),
        len => Err(DecodeError::Tail { kind, len }),
    }
}
