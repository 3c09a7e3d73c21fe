//! What real log lines, flags and outputs mention.

use cgtrace_paths::{MAX_MENTIONS, Mention, mentions};
use proptest::prelude::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "c6e8a3c4-9f5b-4f0e-9a55-1f8b3e6d7c21";

/// Lines with `ID` and `UID` in place of the values above, and the mentions in short: `path`, `ctr:ID`,
/// `pod:UID`, `name:POD`, `unit:UNIT`, `word:WORD`.
const LINES: &[(&str, &[&str])] = &[
    // kubelet and cAdvisor
    (
        r#"E1130 13:00:00.123456    1234 summary_sys_containers.go:48] "Failed to get system container stats" err="failed to get cgroup stats for \"/system.slice/kubelet.service\": failed to get container info for \"/system.slice/kubelet.service\": unknown container \"/system.slice/kubelet.service\"" containerName="/system.slice/kubelet.service""#,
        &["/system.slice/kubelet.service"],
    ),
    (
        r#"W1130 13:00:00.1 1 watcher.go:93] Error while processing event ("/sys/fs/cgroup/cpu,cpuacct/system.slice/a.service": 0x40000100 == IN_CREATE|IN_ISDIR): inotify_add_watch /sys/fs/cgroup/cpu,cpuacct/system.slice/a.service: no such file or directory"#,
        &["/system.slice/a.service"],
    ),
    ("--kubelet-cgroups=/systemd/system.slice", &["/systemd/system.slice"]),
    // runc, containerd, CRI-O, Docker
    (
        "runc create failed: unable to apply cgroup configuration: mkdir /sys/fs/cgroup/memory/kubepods/podUID/ID: cannot allocate memory",
        &["/kubepods/podUID/ID"],
    ),
    (
        r#"{"cgroupsPath":"kubepods-besteffort-pod1.slice:cri-containerd:ID"}"#,
        &["/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-ID.scope"],
    ),
    (r#"{"path":"\/docker\/ID"}"#, &["/docker/ID"]),
    (r#"time="2026-11-30T13:00:00Z" level=warning msg="cleanup" id=ID namespace=k8s.io"#, &["ctr:ID"]),
    ("    Container ID:  containerd://ID", &["ctr:ID"]),
    ("cri-o://ID", &["ctr:ID"]),
    (
        "0123456789abc   2c4adeb21b4ff   3 hours ago   Running   coredns   0",
        &["ctr:0123456789abc", "ctr:2c4adeb21b4ff"],
    ),
    ("/var/lib/kubelet/pods/UID/volumes/x", &["pod:UID"]),
    ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/rootfs", &["ctr:ID"]),
    ("cri-containerd-ID.scope: Deactivated successfully.", &["ctr:ID"]),
    ("pod/UID", &["pod:UID"]),
    ("pod/coredns-5d78c9869d-abcde", &["name:coredns-5d78c9869d-abcde"]),
    ("ctr/0123", &["ctr:0123"]),
    // systemd
    ("systemd[1]: Started kubelet.service - kubelet: The Kubernetes Node Agent.", &["unit:kubelet.service"]),
    ("  │ └─kubelet.service", &["unit:kubelet.service"]),
    ("├─user.slice", &["/user.slice"]),
    (
        r"ControlGroup=/system.slice/system-getty.slice/getty@tty1.service",
        &["/system.slice/system-getty.slice/getty@tty1.service"],
    ),
    (r"/machine.slice/machine-a\x2db.scope.", &[r"/machine.slice/machine-a\x2db.scope"]),
    // The kernel, and /proc
    (
        "[ 12.3] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=a,mems_allowed=0,oom_memcg=/lxc/c1,task_memcg=/lxc/c1/x,task=stress,pid=9,uid=0",
        &["/lxc/c1", "/lxc/c1/x"],
    ),
    (
        "Memory cgroup out of memory: Task in /docker/ID killed as a result of limit of /docker/ID",
        &["/docker/ID"],
    ),
    ("4:cpu,cpuacct:/x", &["/x"]),
    ("0::/system.slice/a.service (deleted)", &["/system.slice/a.service"]),
    // Slurm and LXC
    (
        "slurmstepd: error: Unable to create cgroup '/sys/fs/cgroup/memory/slurm/uid_1000/job_7': File exists",
        &["/slurm/uid_1000/job_7"],
    ),
    (
        "lxc-start: c1: cgfsng.c: 1: Failed to create /sys/fs/cgroup/unified//lxc.payload.c1-1",
        &["/lxc.payload.c1-1"],
    ),
    // Files, and words that mention nothing
    ("cat /sys/fs/cgroup/memory/system.slice/a.service/memory.limit_in_bytes", &["/system.slice/a.service"]),
    ("/sys/fs/cgroup/a.slice/cgroup.procs", &["/a.slice"]),
    ("kubelet", &["word:kubelet"]),
    ("see https://example.org/system.slice and /etc/fstab", &[]),
    ("", &[]),
];

fn short(mention: &Mention) -> String {
    match mention {
        Mention::Path(path) => String::from_utf8_lossy(path).into_owned(),
        Mention::Container(id) => format!("ctr:{id}"),
        Mention::Pod(uid) => format!("pod:{uid}"),
        Mention::PodName(name) => format!("name:{name}"),
        Mention::Unit(unit) => format!("unit:{unit}"),
        Mention::Word(word) => format!("word:{word}"),
    }
}

#[test]
fn real_lines_lead_to_their_cgroups() {
    let insert = |text: &str| text.replace("UID", UID).replace("ID", ID);
    for (line, expected) in LINES {
        // Keys that end in `ID` in a real line are not placeholders.
        let line = line.replace("CONSTRAINT_MEMCG", "x").replace("Container ID:", "Container id:");
        let found: Vec<String> = mentions(insert(&line).as_bytes()).iter().map(short).collect();
        let expected: Vec<String> = expected.iter().map(|expected| insert(expected)).collect();
        assert_eq!(found, expected, "{line}");
    }
}

proptest! {
    #[test]
    fn any_text_has_a_bounded_number_of_mentions(text in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(mentions(&text).len() <= MAX_MENTIONS);
    }

    #[test]
    fn a_path_is_found_in_any_quotes(path in "(/[a-z]{5,9}){1,4}", quote in "[\"'` ]") {
        let path = format!("/top{path}");
        let found = mentions(format!("x {quote}{path}{quote}: no such file").as_bytes());
        prop_assert_eq!(found, [Mention::Path(path.into_bytes())]);
    }

    #[test]
    fn many_mentions_are_cut(count in 0_usize..200) {
        let text = (0..count).map(|number| format!("/a/{number}")).collect::<Vec<_>>().join(" ");
        prop_assert_eq!(mentions(text.as_bytes()).len(), count.min(MAX_MENTIONS));
    }
}
