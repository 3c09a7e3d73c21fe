//! Parsing BTF: the running kernel's, and invalid bytes.
#![expect(clippy::expect_used, reason = "test helpers may panic")]

use cgtrace::daemon::probe::{Btf, BtfError, StructMember};
use proptest::prelude::*;

/// `BTF_KIND_INT` and `BTF_KIND_STRUCT` of include/uapi/linux/btf.h.
const INT: u32 = 1;
const STRUCT: u32 = 4;

/// The running kernel's BTF, if it has any.
fn vmlinux() -> Option<Vec<u8>> {
    std::fs::read("/sys/kernel/btf/vmlinux").ok()
}

#[test]
fn the_running_kernels_structures_are_found() {
    let Some(bytes) = vmlinux() else {
        eprintln!("skipped: this kernel has no BTF");
        return;
    };
    let btf = Btf::parse(&bytes).expect("the kernel's own BTF");
    // The first two members of `list_head` and of `bpf_insn` are fixed by the kernel's ABI or by C itself.
    assert_eq!(btf.member("list_head", "next"), Some(StructMember { offset: 0, size: 8 }));
    assert_eq!(btf.member("list_head", "prev"), Some(StructMember { offset: 8, size: 8 }));
    let id = btf.member("kernfs_node", "id").expect("kernfs_node.id");
    assert_eq!(id.size, 8);
    let own = btf.member("cgroup", "self").expect("cgroup.self");
    let parent = btf.member("cgroup", "self.parent").expect("cgroup.self.parent");
    let css_parent = btf.member("cgroup_subsys_state", "parent").expect("cgroup_subsys_state.parent");
    assert_eq!(parent.offset, own.offset + css_parent.offset);
    assert_eq!(btf.member("task_struct", "comm").map(|member| member.size), Some(16));
    assert_eq!(btf.member("task_struct", "no_such_member"), None);
    assert_eq!(btf.member("no_such_structure", "comm"), None);
}

#[test]
fn a_member_of_an_anonymous_union_is_found() {
    let Some(bytes) = vmlinux() else {
        eprintln!("skipped: this kernel has no BTF");
        return;
    };
    let btf = Btf::parse(&bytes).expect("the kernel's own BTF");
    // `struct page` has had its flags first and `_refcount` after anonymous unions since 4.18.
    assert!(btf.member("page", "mapping").is_some(), "page.mapping is in an anonymous union");
}

#[test]
fn the_running_kernels_controllers_are_found() {
    let Some(bytes) = vmlinux() else {
        eprintln!("skipped: this kernel has no BTF");
        return;
    };
    let btf = Btf::parse(&bytes).expect("the kernel's own BTF");
    let ids = btf.enumeration("cgroup_subsys_id");
    assert_eq!(ids.last().map(|(name, _)| *name), Some("CGROUP_SUBSYS_COUNT"));
    assert_eq!(ids.first().map(|(_, value)| *value), Some(0));
    assert!(btf.enumeration("no_such_enumeration").is_empty());
}

/// BTF with these types and strings.
fn built(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let type_len = u32::try_from(types.len() * 4).expect("short");
    let string_len = u32::try_from(strings.len()).expect("short");
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    for word in [24, 0, type_len, type_len, string_len].iter().chain(types) {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(strings);
    bytes
}

#[test]
fn the_search_of_a_recursive_structure_ends() {
    // struct a { struct a; struct a; }: two anonymous members of the same type.
    let bytes = built(&[1, STRUCT << 24 | 2, 8, 0, 1, 0, 0, 1, 0], b"\0a\0");
    let btf = Btf::parse(&bytes).expect("well-formed");
    assert_eq!(btf.member("a", "b"), None);
}

#[test]
fn a_bit_field_has_no_offset() {
    let int = [0, INT << 24, 4, 32];
    let structure = [1, STRUCT << 24 | 1 << 31 | 1, 4, 3, 1, 3 << 24];
    let bytes = built(&[int.as_slice(), &structure].concat(), b"\0a\0b\0");
    assert_eq!(Btf::parse(&bytes).expect("well-formed").member("a", "b"), None);
}

#[test]
fn a_flag_is_a_bit_field_of_one_bit_or_a_byte() {
    // struct a { one at bit 0x25: 1; two at bit 0x26: 2; byte at bit 48; }, of an int and a bool.
    let types = [
        [0, INT << 24, 4, 32].as_slice(),
        &[0, INT << 24, 1, 8],
        &[1, STRUCT << 24 | 1 << 31 | 3, 8, 3, 1, 1 << 24 | 0x25, 7, 1, 2 << 24 | 0x26, 11, 2, 48],
    ]
    .concat();
    let bytes = built(&types, b"\0a\0one\0two\0byte\0");
    let btf = Btf::parse(&bytes).expect("well-formed");
    assert_eq!(btf.flag("a", "one"), Some((4, 1 << 5)));
    assert_eq!(btf.flag("a", "two"), None);
    assert_eq!(btf.flag("a", "byte"), Some((6, 0xff)));
}

#[test]
fn truncated_btf_is_reported() {
    let bytes = built(&[1, STRUCT << 24 | 2, 8], b"\0a\0");
    assert_eq!(Btf::parse(&bytes).err(), Some(BtfError::Truncated { id: 1 }));
    assert_eq!(Btf::parse(&bytes[..10]).err(), Some(BtfError::NoHeader { len: 10 }));
    assert!(matches!(Btf::parse(&[0; 24]), Err(BtfError::Magic { magic: 0 })));
}

proptest! {
    #[test]
    fn any_types_are_handled(types in proptest::collection::vec(any::<u32>(), 0..64), strings: Vec<u8>) {
        if let Ok(btf) = Btf::parse(&built(&types, &strings)) {
            let _ = btf.member("a", "b.c");
            let _ = btf.enumeration("");
        }
    }

    /// Small kinds and numbers, which often form complete types.
    #[test]
    fn any_plausible_types_are_handled(
        parts in proptest::collection::vec((0..20_u32, 0..3_u32, any::<bool>(), 0..8_u32), 0..32),
    ) {
        let mut types = Vec::new();
        for (kind, count, flag, number) in parts {
            types.extend([1, kind << 24 | count | u32::from(flag) << 31, number]);
            types.extend(std::iter::repeat_n(number, (3 * count) as usize));
        }
        if let Ok(btf) = Btf::parse(&built(&types, b"\0a\0b\0")) {
            let _ = btf.member("a", "a");
            let _ = btf.member("a", "a.a");
            let _ = btf.flag("a", "a");
            let _ = btf.enumeration("a");
        }
    }

    #[test]
    fn any_bytes_are_handled(bytes: Vec<u8>) {
        let _ = Btf::parse(&bytes).is_ok();
    }
}
