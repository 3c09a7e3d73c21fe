//! Leading mount points, and directory names of hierarchies.

use cgtrace_paths::{MountPoint, parse, parse_at};

fn mount_of(path: &str) -> (String, Option<String>) {
    let parsed = parse(path.as_bytes());
    (String::from_utf8_lossy(&parsed.path).into_owned(), parsed.mount.and_then(|mount| mount.hierarchy))
}

fn on(path: &str, hierarchy: &str) -> (String, Option<String>) {
    (path.to_owned(), Some(hierarchy.to_owned()))
}

#[test]
fn usual_mount_points_are_removed() {
    assert_eq!(mount_of("/sys/fs/cgroup/systemd/system.slice/x"), on("/system.slice/x", "name=systemd"));
    assert_eq!(mount_of("/sys/fs/cgroup/cpu,cpuacct/x"), on("/x", "cpu,cpuacct"));
    assert_eq!(mount_of("/sys/fs/cgroup/unified/x"), on("/x", "v2"));
    assert_eq!(mount_of("/sys/fs/cgroup/x.slice"), ("/x.slice".to_owned(), None));
    assert_eq!(mount_of("/rootfs/sys/fs/cgroup/memory"), on("/", "memory"));
    assert_eq!(mount_of("sys/fs/cgroup/memory/x"), on("/x", "memory"));
    assert_eq!(mount_of("/system.slice"), ("/system.slice".to_owned(), None));
}

#[test]
fn a_cgroup_named_like_a_controller_remains_after_its_mount_point() {
    let parsed = parse(b"/sys/fs/cgroup/memory/memory/x");
    assert_eq!(parsed.path, b"/memory/x");
    assert_eq!(parsed.directory.unwrap().rest, b"/x");
}

#[test]
fn a_directory_is_recognised_and_remains() {
    let parsed = parse(b"/systemd/system.slice");
    assert_eq!(parsed.path, b"/systemd/system.slice");
    assert_eq!(parsed.without_directory(), b"/system.slice");
    assert_eq!(parsed.directory.as_ref().unwrap().hierarchy, "name=systemd");
    assert_eq!(parsed.slice.as_deref(), Some("system.slice"));
    assert_eq!(parse(b"/memory.slice/x").directory, None);
}

#[test]
fn given_mount_points_are_removed() {
    let mounts = [MountPoint { point: b"/cg/mem/".to_vec(), hierarchy: Some("memory".to_owned()) }];
    let parsed = parse_at(b"/cg/mem/a/b", &mounts);
    assert_eq!(parsed.path, b"/a/b");
    assert_eq!(parsed.mount.unwrap().hierarchy.as_deref(), Some("memory"));
}

#[test]
fn upward_components_are_counted() {
    let parsed = parse(b"/../../system.slice/./x/../y.service");
    assert_eq!((parsed.upwards, parsed.path.as_slice()), (2, b"/system.slice/y.service".as_slice()));
}
