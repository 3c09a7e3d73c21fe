//! What holds for any path.

use cgtrace_paths::{MountPoint, Name, parse, parse_at, spellings};
use proptest::prelude::*;

/// Names made of what the parser looks for, and of anything.
fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let known = prop::sample::select(vec![
        "",
        ".",
        "..",
        "sys",
        "fs",
        "cgroup",
        "systemd",
        "memory",
        "cpu,cpuacct",
        "unified",
        "system.slice",
        "-.slice",
        "a-b.slice",
        "user@1000.service",
        "_x.service",
        "x\\x2dy.scope",
        "kubepods",
        "burstable",
        "kubepods-burstable.slice",
        "pod",
        "docker",
        "lxc",
        "lxc.payload.",
        "machine-.scope",
        "libpod-",
        "pod1d7d7a3c-4a2e-4d5a-a2c3-6f2d4a0a7a55",
        "system.slice:docker:x",
        "x (deleted)",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ]);
    let component = prop_oneof![
        4 => known.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(component, 0..9).prop_map(|components| components.join(&b'/'))
}

proptest! {
    #[test]
    fn any_name_is_read_and_reads_the_same_again(name in any_name()) {
        let once = parse(&name);
        let again = parse(&once.path);
        prop_assert_eq!(&once.path, &again.path);
        prop_assert_eq!(&again.mount, &None);
        prop_assert_eq!(again.upwards, 0);
        let same = Name { mount: None, upwards: 0, unrooted: false, ..once };
        prop_assert_eq!(same, again);
    }

    #[test]
    fn any_bytes_are_read(name in prop::collection::vec(any::<u8>(), 0..200)) {
        let parsed = parse(&name);
        prop_assert_eq!(parsed.path.first(), Some(&b'/'));
        let _ = parsed.process_name();
    }

    #[test]
    fn any_mount_point_is_taken_off_for_good(
        name in any_name(),
        point in any_name(),
    ) {
        let mounts = [MountPoint { point, hierarchy: None }];
        let once = parse_at(&name, &mounts);
        prop_assert_eq!(&once.path, &parse_at(&once.path, &mounts).path);
    }

    #[test]
    fn any_name_has_few_spellings(name in any_name()) {
        let spellings = spellings(&parse(&name), &name);
        prop_assert!(spellings.len() <= 16, "{}", spellings.len());
        prop_assert!(spellings.iter().all(|spelling| spelling.path.first() == Some(&b'/')));
    }
}
