//! Decoding records of each kind, and invalid bytes.
#![expect(clippy::expect_used, reason = "test helpers may panic")]

use cgtrace::daemon::index::{CgroupId, Child, Hierarchy, HierarchyId, Key, Leaf, What};
use cgtrace::daemon::probe::{Controllers, DecodeError, Kind, decode};
use cgtrace_common::{
    ANCESTORS_MAX, CgroupMembership, Header, HierarchyRoot, NAME_MAX, Parent, Task, VERSION, flag,
};
use proptest::prelude::*;

const TASK: Task = Task {
    pid: 10,
    tid: 11,
    ppid: 1,
    uid: 1000,
    start_boot_ns: 99,
    cgroup: CgroupId(7),
    comm: *b"mkdir\0\0\0\0\0\0\0\0\0\0\0",
};

/// A record as the kernel program would emit it.
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
fn every_kind_is_decoded() {
    let task = bytemuck::bytes_of(&TASK);
    let other = Task { pid: 20, ..TASK };
    let other_bytes = bytemuck::bytes_of(&other);
    let forked_from = Parent { start_boot_ns: 98, cgroup: CgroupId(3) };
    let parent_bytes = bytemuck::bytes_of(&forked_from);
    let unknown = &[0; size_of::<Parent>()][..];
    let root = HierarchyRoot { controllers: 1 << 3 };
    let root = bytemuck::bytes_of(&root);
    let membership = CgroupMembership { hierarchy_id: 9, reserved: 0, cgroup_id: 5 };
    let membership = bytemuck::bytes_of(&membership);
    let hierarchy = Hierarchy { id: KEY.hierarchy, name: "controller-3,name=x".into() };
    let leaf = Leaf { bytes: (*b"a\xff b").into(), truncated: false };
    let (by, moved, parent, level) = (TASK, other, CgroupId(8), 2);
    let cases: [(Kind, u16, Vec<&[u8]>, What); 20] = [
        (
            Kind::Mkdir,
            0,
            vec![task, b"a\xff b"],
            What::Mkdir(Child { key: KEY, parent, level, leaf: leaf.clone(), by }),
        ),
        (
            Kind::Rmdir,
            0,
            vec![task, b"a\xff b"],
            What::Rmdir(Child { key: KEY, parent, level, leaf: leaf.clone(), by }),
        ),
        (Kind::Rename, 0, vec![task, b"a\xff b"], What::Rename(Child { key: KEY, parent, level, leaf, by })),
        (Kind::Release, 0, vec![], What::Release { key: KEY }),
        (
            Kind::Attach,
            flag::THREADGROUP,
            vec![task, other_bytes, parent_bytes],
            What::Attach { key: KEY, task: moved, threadgroup: true, by, parent: Some(forked_from) },
        ),
        (
            Kind::Attach,
            0,
            vec![task, other_bytes, unknown],
            What::Attach { key: KEY, task: moved, threadgroup: false, by, parent: None },
        ),
        (
            Kind::Transfer,
            0,
            vec![task, other_bytes, parent_bytes],
            What::Transfer { key: KEY, task: moved, by, parent: Some(forked_from) },
        ),
        (
            Kind::Fork,
            0,
            vec![task, other_bytes, unknown],
            What::Fork { key: KEY, task: moved, by, sibling: false },
        ),
        (
            Kind::Fork,
            flag::SIBLING,
            vec![task, other_bytes, unknown],
            What::Fork { key: KEY, task: moved, by, sibling: true },
        ),
        (Kind::Populated, 0, vec![], What::Populated { key: KEY, populated: true }),
        (Kind::Empty, 0, vec![], What::Populated { key: KEY, populated: false }),
        (Kind::Freeze, 0, vec![task], What::Freeze { key: KEY, freeze: true, by }),
        (Kind::Thaw, 0, vec![task], What::Freeze { key: KEY, freeze: false, by }),
        (Kind::Frozen, 0, vec![], What::Frozen { key: KEY, frozen: true }),
        (Kind::Thawed, 0, vec![], What::Frozen { key: KEY, frozen: false }),
        (
            Kind::HierarchyCreated,
            0,
            vec![task, root, b"x"],
            What::HierarchyCreated { hierarchy: hierarchy.clone(), by },
        ),
        (Kind::HierarchyDestroyed, 0, vec![root, b"x"], What::HierarchyDestroyed { id: KEY.hierarchy }),
        (Kind::Remount, 0, vec![task, root, b"x"], What::Remount { hierarchy, by }),
        (
            Kind::Exec,
            0,
            vec![task, membership],
            What::Exec { task: by, memberships: [Key { hierarchy: HierarchyId(9), id: CgroupId(5) }].into() },
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
fn names_may_be_truncated_but_not_too_long_or_missing() {
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
    assert_eq!(decoded(Kind::Release, 0, &[b"x"]), Err(DecodeError::Tail { kind: Kind::Release, len: 1 }));
    let task = bytemuck::bytes_of(&TASK);
    assert_eq!(decoded(Kind::Exec, 0, &[task, b"x"]), Err(DecodeError::Tail { kind: Kind::Exec, len: 1 }));
    let many = [task; ANCESTORS_MAX + 2];
    assert!(matches!(decoded(Kind::Ancestry, 0, &many), Err(DecodeError::Tail { kind: Kind::Ancestry, .. })));
}

#[test]
fn a_record_with_an_invalid_header_is_refused() {
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
    fn any_bytes_are_handled(bytes: Vec<u8>) {
        let _ = decode(&bytes, &Controllers::default()).is_ok();
    }

    #[test]
    fn any_tail_of_any_kind_is_handled(kind in 0..22_u8, flags: u16, tail: Vec<u8>) {
        let mut bytes = record(Kind::Mkdir, flags, &[&tail]);
        bytes[5] = kind;
        let _ = decode(&bytes, &Controllers::default()).is_ok();
    }

    #[test]
    fn names_are_preserved(name in proptest::collection::vec(1..=255_u8, 1..=NAME_MAX)) {
        let task = bytemuck::bytes_of(&TASK);
        let leaf = Leaf { bytes: name.clone().into(), truncated: false };
        let expected =
            What::Mkdir(Child { key: KEY, parent: CgroupId(8), level: 2, leaf, by: TASK });
        prop_assert_eq!(decoded(Kind::Mkdir, 0, &[task, &name]), Ok(expected));
    }
}
