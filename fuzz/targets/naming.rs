//! Parsing of cgroup paths: units, slices, pods, containers, and similar spellings.
#![no_main]

use cgtrace_paths::{
    MAX_MENTIONS, MountPoint, escape, expand_slice, mentions, parse, parse_at, spellings, unescape,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mounts = [
        MountPoint { point: b"/sys/fs/cgroup".to_vec(), hierarchy: Some("v2".to_owned()) },
        MountPoint { point: b"/sys/fs/cgroup/memory".to_vec(), hierarchy: Some("memory".to_owned()) },
    ];
    for path in [parse(input), parse_at(input, &mounts)] {
        let _ = (path.components().count(), path.leaf(), path.without_directory(), path.expected_comm());
        for variant in spellings(&path, input) {
            assert_ne!(variant.path, input, "a spelling differs from the input");
        }
    }
    assert!(mentions(input).len() <= MAX_MENTIONS);
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = expand_slice(text);
        let _ = (unescape(text), escape(text));
    }
});
