//! Parsers of files in `/proc`.

use std::path::PathBuf;

use cgtrace_host::{
    hierarchy::{parse_mountinfo, parse_proc_cgroup},
    process::{ProcessState, parse_stat},
};
use proptest::prelude::*;

const HYBRID: &[u8] = b"\
25 1 0:23 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
26 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
27 25 0:25 / /sys/fs/cgroup/systemd rw,relatime shared:9 master:2 - cgroup cgroup rw,xattr,name=systemd
28 25 0:26 /../.. /mnt/with\\040space rw - cgroup2 cgroup2 rw,nsdelegate
29 1 0:27 / /home rw - ext4 /dev/vda rw
";

#[test]
fn cgroup_mounts_are_parsed() {
    let lines = parse_mountinfo(HYBRID);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].mount_point, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
    assert!(lines[0].options.contains(&b"cpuacct".to_vec()));
    assert!(lines[1].options.contains(&b"name=systemd".to_vec()));
    assert_eq!(lines[2].mount_point, PathBuf::from("/mnt/with space"));
    assert_eq!(lines[2].root, b"/../..");
    assert!(lines[2].unified);
}

#[test]
fn lines_of_proc_cgroup_are_parsed() {
    let text = b"12:cpu,cpuacct:/a:b\n9:name=systemd:/\n3:cpuset,name=x:/y\n0::/init.scope (deleted)\n";
    let lines = parse_proc_cgroup(text);
    let names: Vec<(u32, &str)> = lines.iter().map(|line| (line.id, line.name.as_str())).collect();
    assert_eq!(names, [(12, "cpu,cpuacct"), (9, "name=systemd"), (3, "cpuset,name=x"), (0, "")]);
    assert_eq!(lines[0].path, b"/a:b");
    assert_eq!(lines[3].path, b"/init.scope (deleted)");
}

#[test]
fn a_comm_may_contain_separators() {
    let line = b"42 (a) b) (c) S 7 42 42 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 1234 23 24 25 26 27 28 29\n";
    let stat = parse_stat(line).unwrap();
    assert_eq!(stat.comm, b"a) b) (c");
    assert_eq!(stat.ppid, 7);
    assert_eq!((stat.start_boot_ns, stat.state), (12_340_000_000, ProcessState::Alive));
    assert_eq!(stat.image, (26, 28));
}

#[test]
fn a_leader_that_exited_before_its_threads_is_not_a_zombie() {
    let state = |state, flags, threads| {
        let line = format!("42 (a) {state} 7 42 42 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 {threads} 0 1234 0 0");
        parse_stat(line.as_bytes()).map(|stat| stat.state)
    };
    assert_eq!(state("Z", 0x40_404c, 1), Some(ProcessState::Zombie));
    assert_eq!(state("Z", 0x40_404c, 2), Some(ProcessState::LeaderExited));
    assert_eq!(state("I", 0x420_8060, 1), Some(ProcessState::KernelThread));
}

proptest! {
    #[test]
    fn any_bytes_are_accepted(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (parse_mountinfo(&text), parse_proc_cgroup(&text), parse_stat(&text));
    }

    #[test]
    fn escaping_is_undone(name in "[ -~\\t]{0,40}") {
        let escaped = name.bytes().map(|byte| match byte {
            b' ' | b'\t' | b'\\' => format!("\\{byte:03o}"),
            other => char::from(other).to_string(),
        });
        let line = format!("26 25 0:24 / /{} rw - cgroup2 x rw", escaped.collect::<String>());
        let expected = PathBuf::from(format!("/{name}"));
        prop_assert_eq!(&parse_mountinfo(line.as_bytes())[0].mount_point, &expected);
    }
}
