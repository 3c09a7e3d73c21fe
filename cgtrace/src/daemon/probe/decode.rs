//! From a record's bytes to an [`Event`]. Pure, and total over any bytes.

use bytemuck::Pod;
use cgtrace_common::{
    ANCESTORS_MAX, Header, Kind, MEMBERSHIPS_MAX, Membership, NAME_MAX, Root, Task, VERSION, flag,
};
use thiserror::Error;

use super::controllers::Controllers;
use crate::daemon::index::{CgroupId, Event, Hierarchy, HierarchyId, Key, Leaf, Task as Who, What};

/// A record that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A part reaches beyond the record's end.
    #[error("{len} bytes are too few for the next {part} bytes")]
    Short {
        /// How many bytes are left.
        len: usize,
        /// How many the part has.
        part: usize,
    },
    /// The header tells another length.
    #[error("the header says {header} bytes, but there are {len}")]
    Length {
        /// What the header says.
        header: u32,
        /// How many bytes there are.
        len: usize,
    },
    /// The program is of another build.
    #[error("the layout is version {version}, expected {VERSION}")]
    Version {
        /// The record's version.
        version: u8,
    },
    /// There is no such kind.
    #[error("there is no kind {kind}")]
    Kind {
        /// The record's kind.
        kind: u8,
    },
    /// The part that reaches to the end has a length that it cannot have.
    #[error("{len} bytes are no tail of a record of kind {kind:?}")]
    Tail {
        /// The record's kind.
        kind: Kind,
        /// The tail's length in bytes.
        len: usize,
    },
}

/// What is still to be read of a record.
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

    fn take_task(&mut self) -> Result<Who, DecodeError> {
        let Task { pid, tid, ppid, uid, start_boot_ns, cgroup_id, mut comm } = self.take()?;
        // The kernel may leave the end of a longer, former name behind the NUL.
        let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
        comm[end..].fill(0);
        Ok(Who { pid, tid, ppid, uid, start_boot_ns, cgroup: CgroupId(cgroup_id), comm })
    }

    fn take_leaf(&mut self, kind: Kind, flags: u16) -> Result<Leaf, DecodeError> {
        let truncated = flags & flag::NAME_TRUNCATED != 0;
        let bytes = self.take_rest();
        // An empty name is one that could not be read.
        if bytes.len() > NAME_MAX || bytes.is_empty() && !truncated {
            return Err(DecodeError::Tail { kind, len: bytes.len() });
        }
        Ok(Leaf { bytes: bytes.into(), truncated })
    }

    fn take_hierarchy(&mut self, id: u32, controllers: &Controllers) -> Result<Hierarchy, DecodeError> {
        let Root { controllers: mask } = self.take()?;
        Ok(controllers.hierarchy(HierarchyId(id), mask, self.take_rest()))
    }

    fn take_memberships(&mut self) -> Result<Box<[Key]>, DecodeError> {
        let count = self.0.len() / size_of::<Membership>();
        if count > MEMBERSHIPS_MAX {
            return Err(DecodeError::Tail { kind: Kind::Exec, len: self.0.len() });
        }
        (0..count)
            .map(|_| {
                let Membership { hierarchy_id, reserved: _, cgroup_id } = self.take()?;
                Ok(Key { hierarchy: HierarchyId(hierarchy_id), id: CgroupId(cgroup_id) })
            })
            .collect()
    }

    fn take_ancestors(&mut self) -> Result<Box<[Who]>, DecodeError> {
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

/// Decodes one whole record.
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
            let leaf = rest.take_leaf(kind, flags)?;
            match kind {
                Kind::Mkdir => What::Mkdir { key, parent, level, leaf, by },
                Kind::Rmdir => What::Rmdir { key, parent, level, leaf, by },
                _ => What::Rename { key, parent, level, leaf, by },
            }
        }
        Kind::Release => What::Release { key },
        Kind::Attach => {
            let threadgroup = flags & flag::THREADGROUP != 0;
            let by = rest.take_task()?;
            What::Attach { key, task: rest.take_task()?, threadgroup, by }
        }
        Kind::Transfer => {
            let by = rest.take_task()?;
            What::Transfer { key, task: rest.take_task()?, by }
        }
        Kind::Fork => {
            let by = rest.take_task()?;
            What::Fork { key, task: rest.take_task()?, by }
        }
        Kind::Populated | Kind::Empty => What::Populated { key, populated: kind == Kind::Populated },
        Kind::Freeze | Kind::Thaw => {
            What::Freeze { key, freeze: kind == Kind::Freeze, by: rest.take_task()? }
        }
        Kind::Frozen | Kind::Thawed => What::Frozen { key, frozen: kind == Kind::Frozen },
        Kind::RootAdded => {
            let by = rest.take_task()?;
            What::RootAdded { hierarchy: rest.take_hierarchy(hierarchy_id, controllers)?, by }
        }
        Kind::RootRemoved => {
            rest.take_hierarchy(hierarchy_id, controllers)?;
            What::RootRemoved { id: key.hierarchy }
        }
        Kind::Remount => {
            let by = rest.take_task()?;
            What::Remount { hierarchy: rest.take_hierarchy(hierarchy_id, controllers)?, by }
        }
        Kind::Exec => What::Exec { task: rest.take_task()?, memberships: rest.take_memberships()? },
        Kind::Lost | Kind::Healed => return Err(DecodeError::Kind { kind: header.kind }),
        Kind::Ancestry => What::Ancestry { task: rest.take_task()?, ancestors: rest.take_ancestors()? },
    };
    match rest.0.len() {
        0 => Ok(Event { boot_ns, what }),
        len => Err(DecodeError::Tail { kind, len }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TASK: Task = Task {
        pid: 10,
        tid: 11,
        ppid: 1,
        uid: 1000,
        start_boot_ns: 99,
        cgroup_id: 7,
        comm: *b"mkdir\0\0\0\0\0\0\0\0\0\0\0",
    };

    fn who(task: Task) -> Who {
        let Task { pid, tid, ppid, uid, start_boot_ns, cgroup_id, comm } = task;
        Who { pid, tid, ppid, uid, start_boot_ns, cgroup: CgroupId(cgroup_id), comm }
    }

    /// A record as the kernel program would make it.
    fn record(kind: Kind, flags: u16, parts: &[&[u8]]) -> Vec<u8> {
        let length = size_of::<Header>() + parts.iter().map(|part| part.len()).sum::<usize>();
        let header = Header {
            length: u32::try_from(length).expect("short"),
            version: VERSION,
            kind: kind as u8,
            flags,
            boot_ns: 123,
            hierarchy_id: 4,
            level: 2,
            cgroup_id: 1 << 40,
            parent_id: 8,
        };
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        bytes.extend(parts.concat());
        bytes
    }

    fn decoded(kind: Kind, flags: u16, parts: &[&[u8]]) -> Result<What, DecodeError> {
        decode(&record(kind, flags, parts), &Controllers::default()).map(|event| event.what)
    }

    const KEY: Key = Key { hierarchy: HierarchyId(4), id: CgroupId(1 << 40) };

    #[test]
    fn every_kind_is_told_from_every_other() {
        let task = bytemuck::bytes_of(&TASK);
        let other = Task { pid: 20, ..TASK };
        let other_bytes = bytemuck::bytes_of(&other);
        let root = Root { controllers: 1 << 3 };
        let root = bytemuck::bytes_of(&root);
        let membership = Membership { hierarchy_id: 9, reserved: 0, cgroup_id: 5 };
        let membership = bytemuck::bytes_of(&membership);
        let hierarchy = Hierarchy { id: KEY.hierarchy, name: "controller-3,name=x".into() };
        let leaf = Leaf { bytes: (*b"a\xff b").into(), truncated: false };
        let (by, moved, parent, level) = (who(TASK), who(other), CgroupId(8), 2);
        let cases: [(Kind, u16, Vec<&[u8]>, What); 19] = [
            (
                Kind::Mkdir,
                0,
                vec![task, b"a\xff b"],
                What::Mkdir { key: KEY, parent, level, leaf: leaf.clone(), by },
            ),
            (
                Kind::Rmdir,
                0,
                vec![task, b"a\xff b"],
                What::Rmdir { key: KEY, parent, level, leaf: leaf.clone(), by },
            ),
            (Kind::Rename, 0, vec![task, b"a\xff b"], What::Rename { key: KEY, parent, level, leaf, by }),
            (Kind::Release, 0, vec![], What::Release { key: KEY }),
            (
                Kind::Attach,
                flag::THREADGROUP,
                vec![task, other_bytes],
                What::Attach { key: KEY, task: moved, threadgroup: true, by },
            ),
            (
                Kind::Attach,
                0,
                vec![task, other_bytes],
                What::Attach { key: KEY, task: moved, threadgroup: false, by },
            ),
            (Kind::Transfer, 0, vec![task, other_bytes], What::Transfer { key: KEY, task: moved, by }),
            (Kind::Fork, 0, vec![task, other_bytes], What::Fork { key: KEY, task: moved, by }),
            (Kind::Populated, 0, vec![], What::Populated { key: KEY, populated: true }),
            (Kind::Empty, 0, vec![], What::Populated { key: KEY, populated: false }),
            (Kind::Freeze, 0, vec![task], What::Freeze { key: KEY, freeze: true, by }),
            (Kind::Thaw, 0, vec![task], What::Freeze { key: KEY, freeze: false, by }),
            (Kind::Frozen, 0, vec![], What::Frozen { key: KEY, frozen: true }),
            (Kind::Thawed, 0, vec![], What::Frozen { key: KEY, frozen: false }),
            (
                Kind::RootAdded,
                0,
                vec![task, root, b"x"],
                What::RootAdded { hierarchy: hierarchy.clone(), by },
            ),
            (Kind::RootRemoved, 0, vec![root, b"x"], What::RootRemoved { id: KEY.hierarchy }),
            (Kind::Remount, 0, vec![task, root, b"x"], What::Remount { hierarchy, by }),
            (
                Kind::Exec,
                0,
                vec![task, membership],
                What::Exec {
                    task: by,
                    memberships: [Key { hierarchy: HierarchyId(9), id: CgroupId(5) }].into(),
                },
            ),
            (
                Kind::Ancestry,
                0,
                vec![task, other_bytes, task],
                What::Ancestry { task: by, ancestors: Box::new([moved, by]) },
            ),
        ];
        for (kind, flags, parts, expected) in cases {
            assert_eq!(decoded(kind, flags, &parts), Ok(expected), "{kind:?}");
        }
    }

    #[test]
    fn names_may_be_cut_but_not_too_long_or_missing() {
        let task = bytemuck::bytes_of(&TASK);
        let long = vec![b'x'; NAME_MAX + 1];
        assert_eq!(
            decoded(Kind::Mkdir, 0, &[task, &long]),
            Err(DecodeError::Tail { kind: Kind::Mkdir, len: NAME_MAX + 1 })
        );
        assert!(decoded(Kind::Mkdir, 0, &[task, &long[1..]]).is_ok());
        assert_eq!(decoded(Kind::Mkdir, 0, &[task]), Err(DecodeError::Tail { kind: Kind::Mkdir, len: 0 }));
        assert!(decoded(Kind::Mkdir, flag::NAME_TRUNCATED, &[task]).is_ok());
    }

    #[test]
    fn a_tail_must_be_exact() {
        assert_eq!(
            decoded(Kind::Release, 0, &[b"x"]),
            Err(DecodeError::Tail { kind: Kind::Release, len: 1 })
        );
        let task = bytemuck::bytes_of(&TASK);
        assert_eq!(
            decoded(Kind::Exec, 0, &[task, b"x"]),
            Err(DecodeError::Tail { kind: Kind::Exec, len: 1 })
        );
        let many = [task; ANCESTORS_MAX + 2];
        assert!(matches!(
            decoded(Kind::Ancestry, 0, &many),
            Err(DecodeError::Tail { kind: Kind::Ancestry, .. })
        ));
    }

    #[test]
    fn a_foreign_record_is_refused() {
        let good = record(Kind::Release, 0, &[]);
        let controllers = Controllers::default();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            decode(&bytes, &controllers)
        };
        assert_eq!(with(4, 9), Err(DecodeError::Version { version: 9 }));
        assert_eq!(with(5, 0), Err(DecodeError::Kind { kind: 0 }));
        assert_eq!(with(5, 18), Err(DecodeError::Kind { kind: 18 }));
        assert_eq!(with(5, 21), Err(DecodeError::Kind { kind: 21 }));
        assert_eq!(decode(&good[..39], &controllers), Err(DecodeError::Short { len: 39, part: 40 }));
        let long = [good.as_slice(), b"x"].concat();
        assert_eq!(decode(&long, &controllers), Err(DecodeError::Length { header: 40, len: 41 }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = decode(&bytes, &Controllers::default()).is_ok();
        }

        #[test]
        fn any_tail_of_any_kind_is_survived(kind in 0..22_u8, flags: u16, tail: Vec<u8>) {
            let mut bytes = record(Kind::Mkdir, flags, &[&tail]);
            bytes[5] = kind;
            let _ = decode(&bytes, &Controllers::default()).is_ok();
        }

        #[test]
        fn a_name_comes_through_as_it_was(name in proptest::collection::vec(1..=255_u8, 1..=NAME_MAX)) {
            let task = bytemuck::bytes_of(&TASK);
            let leaf = Leaf { bytes: name.clone().into(), truncated: false };
            let expected =
                What::Mkdir { key: KEY, parent: CgroupId(8), level: 2, leaf, by: who(TASK) };
            prop_assert_eq!(decoded(Kind::Mkdir, 0, &[task, &name]), Ok(expected));
        }
    }
}
