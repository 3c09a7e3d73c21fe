//! Properties of all paths.

use cgtrace_paths::{MountPoint, ParsedPath, parse, parse_at, spellings};
use proptest::prelude::*;

/// Paths of components that the parser recognises, and of random bytes.
fn any_path() -> impl Strategy<Value = Vec<u8>> {
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
    fn parsing_is_idempotent(path in any_path()) {
        let once = parse(&path);
        let again = parse(&once.path);
        prop_assert_eq!(&once.path, &again.path);
        prop_assert_eq!(&again.mount, &None);
        prop_assert_eq!(again.upwards, 0);
        let same = ParsedPath { mount: None, upwards: 0, relative: false, ..once };
        prop_assert_eq!(same, again);
    }

    #[test]
    fn any_bytes_are_accepted(path in prop::collection::vec(any::<u8>(), 0..200)) {
        let parsed = parse(&path);
        prop_assert_eq!(parsed.path.first(), Some(&b'/'));
        let _ = parsed.expected_comm();
    }

    #[test]
    fn any_mount_point_is_removed_completely(
        path in any_path(),
        point in any_path(),
    ) {
        let mounts = [MountPoint { point, hierarchy: None }];
        let once = parse_at(&path, &mounts);
        prop_assert_eq!(&once.path, &parse_at(&once.path, &mounts).path);
    }

    #[test]
    fn spellings_are_few_and_absolute(path in any_path()) {
        let spellings = spellings(&parse(&path), &path);
        prop_assert!(spellings.len() <= 16, "{}", spellings.len());
        prop_assert!(spellings.iter().all(|spelling| spelling.path.first() == Some(&b'/')));
    }
}
