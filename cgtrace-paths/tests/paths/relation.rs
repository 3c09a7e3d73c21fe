//! Relations of paths, and names of hierarchies.

use cgtrace_paths::{is_within, names_hierarchy};

#[test]
fn is_within_compares_whole_components() {
    assert!(is_within(b"/a/b", b"/a") && is_within(b"/a", b"/a") && is_within(b"/x", b"/"));
    assert!(!is_within(b"/ab", b"/a") && !is_within(b"/", b"/a"));
}

#[test]
fn a_hierarchy_is_named_by_some_of_its_controllers() {
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
