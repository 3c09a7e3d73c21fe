//! How paths relate to one another, and which hierarchy a word means.

use cgtrace_paths::{is_within, names_hierarchy};

#[test]
fn within_means_whole_components() {
    assert!(is_within(b"/a/b", b"/a") && is_within(b"/a", b"/a") && is_within(b"/x", b"/"));
    assert!(!is_within(b"/ab", b"/a") && !is_within(b"/", b"/a"));
}

#[test]
fn a_hierarchy_is_named_by_its_name_or_a_part_of_it() {
    for (word, hierarchy, expected) in [
        ("cpu", "cpu,cpuacct", true),
        ("cpuacct", "cpu,cpuacct", true),
        ("cpu,cpuacct", "cpu,cpuacct", true),
        ("cpuacct,cpu", "cpu,cpuacct", true),
        ("cpuset", "cpu,cpuacct", false),
        ("cp", "cpu,cpuacct", false),
        ("cpu,memory", "cpu,cpuacct", false),
        ("", "cpu,cpuacct", false),
        ("cpu,", "cpu,cpuacct", false),
        ("v2", "cpu,cpuacct", false),
        ("name=systemd", "name=systemd", true),
        ("systemd", "name=systemd", false),
        ("memory", "memory,name=x", true),
        ("name=x", "memory,name=x", true),
        ("v2", "v2", true),
        ("unified", "v2", true),
        ("memory", "v2", false),
    ] {
        assert_eq!(names_hierarchy(word, hierarchy), expected, "{word} for {hierarchy}");
    }
}
