//! What real log lines, flags and outputs mention.

use cgtrace_paths::{MAX_MENTIONS, Mention, Target, mentions};
use proptest::prelude::*;

/// Lines with `{ID}` and `{UID}` in place of an id and a UID, and the mentions in short: a path, `ctr:ID`,
/// `pod:UID`, `name:POD`, `unit:UNIT`, `word:WORD`; `?` before a path that may be another file, and
/// `@HIERARCHY` behind one whose hierarchy the line names.
type Lines = &'static [(&'static str, &'static [&'static str])];

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "c6e8a3c4-9f5b-4f0e-9a55-1f8b3e6d7c21";

/// From the reports that the comments name.
const REPORTS: Lines = &[
    // kubernetes#63804
    (
        r#"May 11 19:25:35 ip-10-0-0-1 kubelet[2583]: E0511 19:25:35.523245    2583 summary.go:92] Failed to get system container stats for "/system.slice/kubelet.service": failed to get cgroup stats for "/system.slice/kubelet.service": failed to get container info for "/system.slice/kubelet.service": unknown container "/system.slice/kubelet.service""#,
        &["/system.slice/kubelet.service"],
    ),
    // rke#2859, of a kubelet in a cgroup namespace
    (
        r#"E0822 00:56:43.960235    2073 summary_sys_containers.go:47] "Failed to get system container stats" err="failed to get cgroup stats for \"/../../system.slice/docker.service\": failed to get container info for \"/../../system.slice/docker.service\": unknown container \"/../../system.slice/docker.service\"" containerName="/../../system.slice/docker.service""#,
        &["/../../system.slice/docker.service"],
    ),
    // atomic#1238
    (
        r#"runc[11144]: E0606 09:51:28.986046   11225 summary.go:92] Failed to get system container stats for "/systemd/system.slice": failed to get cgroup stats for "/systemd/system.slice": failed to get container info for "/systemd/system.slice": unknown container "/systemd/system.slice""#,
        &["/systemd/system.slice"],
    ),
    // kubernetes#103542
    (
        "unable to ensure pod container exists: failed to create container for [kubepods burstable pod{UID}] : mkdir /sys/fs/cgroup/devices/kubepods.slice/kubepods-burstable.slice: no such file or directory",
        &["/kubepods.slice/kubepods-burstable.slice@devices", "pod:{UID}"],
    ),
    // cri-o#4183: quotes in quotes, and the file that could not be written
    (
        r#"level=error msg="failed to write \\\"100000\\\" to \\\"/sys/fs/cgroup/cpu,cpuacct/kubepods.slice/crio-{ID}.scope/cpu.cfs_period_us\\\": permission denied""#,
        &["/kubepods.slice/crio-{ID}.scope@cpu,cpuacct"],
    ),
    // podman#5703
    (
        "Error: creating cgroup directory `/sys/fs/cgroup/cpuset/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope`: No such file or directory: OCI runtime command not found error",
        &["/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope@cpuset"],
    ),
    // runc#3312
    (
        "error creating systemd unit `docker-init-proxy.scope`: got `failed`: unknown",
        &["unit:docker-init-proxy.scope"],
    ),
    // kind#2440
    (r#"failed to run Kubelet: invalid configuration: cgroup-root ["kubelet"] doesn't exist"#, &[]),
    // slurm-k8s-cluster#38
    (
        "slurmd: error: cannot initialize cgroup directory for stepds: if the scope /sys/fs/cgroup/kubepods.slice/system.slice/slurmstepd.scope already exists it means the associated cgroup directories disappeared",
        &["/kubepods.slice/system.slice/slurmstepd.scope"],
    ),
    // lxc#4079
    (
        "lxc-start c1 20220207043609.584 DEBUG    cgfsng - cgroups/cgfsng.c:cgfsng_monitor_create:1014 - Failed to create cgroup lxc.monitor.c1-23)",
        &["/lxc.monitor.c1-23"],
    ),
    // harbour-containers#13
    (
        r#"lxc_cgfsng - cgroups/cgfsng.c:create_path_for_hierarchy:1257 - Failed to create cgroup "/sys/fs/cgroup/schedtune//lxc/mycontainer-999""#,
        &["/schedtune/lxc/mycontainer-999"],
    ),
    // gpud#70
    (
        "kernel: oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=cri-containerd-{ID}.scope,mems_allowed=0-1,oom_memcg=/lxc.payload.x/kubepods.slice,task_memcg=/lxc.payload.x/kubepods.slice/cri-containerd-{ID}.scope,task=pt_main_thread,pid=461754,uid=0",
        &[
            "/lxc.payload.x/kubepods.slice",
            "/lxc.payload.x/kubepods.slice/cri-containerd-{ID}.scope",
            "ctr:{ID}",
        ],
    ),
    // kubedirector#356
    (
        "[5193605.506728] Task in /kubepods/pod{UID}/{ID} killed as a result of limit of /kubepods/pod{UID}/{ID}",
        &["/kubepods/pod{UID}/{ID}"],
    ),
    (
        "[5193605.506739] Memory cgroup stats for /kubepods/pod{UID}: cache:507172KB rss:448KB",
        &["/kubepods/pod{UID}"],
    ),
    // talos#12526
    (
        r#"[talos] Sending SIGKILL to cgroup {"component": "controller-runtime", "cgroup": "/sys/fs/cgroup/kubepods/burstable/pod{UID}"}"#,
        &["/kubepods/burstable/pod{UID}"],
    ),
    // kata-containers#11325
    (
        "drwxr-xr-x    2 root root 0 May 27 19:35 kubepods-burstable.slice:cri-containerd:{ID}",
        &["/kubepods.slice/kubepods-burstable.slice/cri-containerd-{ID}.scope"],
    ),
    // cgroups-rs#131
    ("11:pids:/docker/{ID}/docker/{ID}", &["/docker/{ID}/docker/{ID}@pids"]),
    ("/sys/fs/cgroup/docker/docker/{ID}/docker/{ID}", &["/docker/docker/{ID}/docker/{ID}"]),
    // kubernetes#114142
    ("/sys/fs/cgroup/memory/kubepods/burstable/pod{UID}", &["/kubepods/burstable/pod{UID}@memory"]),
    // procfs#152 and cgroups-rs#140: a colon in a path
    ("8:memory:/foo:bar", &["/foo:bar@memory"]),
];

/// What programs print and files contain.
const OUTPUTS: Lines = &[
    // kubelet, its flags and its configuration
    ("--kubelet-cgroups=/systemd/system.slice", &["/systemd/system.slice"]),
    ("kubelet --cgroup-root kubelet --v=2", &["/kubelet"]),
    ("kubeletCgroups: kubelet", &["/kubelet"]),
    ("cgroupRoot: /", &["/"]),
    ("cgroupDriver: systemd", &[]),
    (r#""kubeReservedCgroup": "/podruntime.slice","#, &["/podruntime.slice"]),
    ("docker run --cgroup-parent=machine-vm.slice busybox", &["/machine.slice/machine-vm.slice"]),
    (r#"cgroup_parent = "pods""#, &["/pods"]),
    ("SyncLoop (PLEG): pod kube-system/coredns-5d78c9869d-abcde podUID={UID}", &["pod:{UID}"]),
    (r#""coredns-5d78c9869d-abcde_kube-system({UID})""#, &["pod:{UID}"]),
    ("k8s_POD_coredns-5d78c9869d-abcde_kube-system_{UID}_0", &["pod:{UID}"]),
    ("/var/lib/kubelet/pods/{UID}/volumes/x", &["pod:{UID}"]),
    ("/var/log/pods/kube-system_coredns-abcde_{UID}/coredns/0.log", &["pod:{UID}"]),
    ("/var/log/containers/coredns-abcde_kube-system_coredns-{ID}.log", &["ctr:{ID}"]),
    // Runtimes
    (
        r#"{"cgroupsPath":"kubepods-besteffort-pod1.slice:cri-containerd:{ID}"}"#,
        &[
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-{ID}.scope",
        ],
    ),
    ("system.slice:docker:{ID}", &["/system.slice/docker-{ID}.scope"]),
    (r#"{"path":"\/docker\/{ID}"}"#, &["/docker/{ID}"]),
    (r#"time="2026-11-30T13:00:00Z" level=warning msg="cleanup" id={ID} namespace=k8s.io"#, &["ctr:{ID}"]),
    ("    Container ID:  containerd://{ID}", &["ctr:{ID}"]),
    ("cri-o://{ID}", &["ctr:{ID}"]),
    (
        "0123456789abc   2c4adeb21b4ff   3 hours ago   Running   coredns   0",
        &["ctr:0123456789abc", "ctr:2c4adeb21b4ff"],
    ),
    ("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/rootfs", &["ctr:{ID}"]),
    ("cri-containerd-{ID}.scope: Deactivated successfully.", &["ctr:{ID}"]),
    ("libpod-{ID}.scope", &["ctr:{ID}"]),
    ("crio-{ID}", &["ctr:{ID}"]),
    ("docker-{ID}.scope", &["ctr:{ID}"]),
    ("http://localhost/v1.41/containers/{ID}/json", &["ctr:{ID}"]),
    ("GET /v1.41/containers/0123456789ab/json", &["ctr:0123456789ab"]),
    ("http://localhost:8080/api/v1.3/containers/system.slice/a.service", &["/system.slice/a.service"]),
    ("http://localhost:8080/api/v1.3/containers%2Fsystem.slice%2Fa.service", &["/system.slice/a.service"]),
    (r#"container_memory_rss{id="/system.slice/a.service",name=""} 5"#, &["/system.slice/a.service"]),
    // What a person types
    ("pod/{UID}", &["pod:{UID}"]),
    ("pod/coredns-5d78c9869d-abcde", &["name:coredns-5d78c9869d-abcde"]),
    ("ctr/0123", &["ctr:0123"]),
    ("kubelet", &["word:kubelet"]),
    ("kubelet.service", &["unit:kubelet.service"]),
    ("system.slice", &["/system.slice"]),
    ("system.slice/kubelet.service\r\n", &["/system.slice/kubelet.service"]),
    ("default/web", &["?/default/web"]),
    ("/a//b/", &["?/a/b"]),
    // systemd
    ("systemd[1]: Started kubelet.service - kubelet: The Kubernetes Node Agent.", &["unit:kubelet.service"]),
    ("  │ └─kubelet.service", &["unit:kubelet.service"]),
    ("├─user.slice", &["/user.slice"]),
    ("● kubelet.service loaded failed failed kubelet: The Kubernetes Node Agent", &["unit:kubelet.service"]),
    ("     CGroup: /system.slice/kubelet.service", &["/system.slice/kubelet.service"]),
    (
        r"ControlGroup=/system.slice/system-getty.slice/getty@tty1.service",
        &["/system.slice/system-getty.slice/getty@tty1.service"],
    ),
    (r"/machine.slice/machine-a\x2db.scope.", &[r"/machine.slice/machine-a\x2db.scope"]),
    (r#"{"path":"/machine.slice/machine-a\\x2db.scope"}"#, &[r"/machine.slice/machine-a\x2db.scope"]),
    // The kernel, and /proc
    ("4:cpu,cpuacct:/x", &["/x@cpu,cpuacct"]),
    ("1:name=systemd:/x y", &["/x y@name=systemd"]),
    ("0::/system.slice/a.service (deleted)", &["/system.slice/a.service@v2"]),
    ("4:memory:/x,1:name=systemd:/y,0::/z", &["/x@memory", "/y@name=systemd", "/z@v2"]),
    (
        "36 32 0:33 /docker/{ID} /sys/fs/cgroup/memory ro,nosuid master:11 - cgroup cgroup rw,memory",
        &["/docker/{ID}@memory"],
    ),
    (r"36 32 0:33 /a\040b /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate", &["/a b@v2"]),
    ("/proc/1234/root/sys/fs/cgroup/unified/a/cgroup.procs", &["/a@v2"]),
    ("file:///sys/fs/cgroup/a.slice", &["/a.slice"]),
    (
        "cat /sys/fs/cgroup/memory/system.slice/a.service/memory.limit_in_bytes",
        &["/system.slice/a.service@memory"],
    ),
    ("/sys/fs/cgroup/a.slice/cgroup.procs", &["/a.slice"]),
    // Words that mention nothing, or perhaps something else
    ("see https://example.org/system.slice and /etc/fstab", &[]),
    ("GET /healthz 200", &["?/healthz"]),
    ("commit deadbeefcafe of 20261130130000", &[]),
    ("", &[]),
];

fn short(mention: &Mention) -> String {
    let target = match &mention.target {
        Target::Path(path) | Target::RuntimePath { path, .. } => String::from_utf8_lossy(path).into_owned(),
        Target::Container(id) => format!("ctr:{id}"),
        Target::Pod(uid) => format!("pod:{uid}"),
        Target::PodName(name) => format!("name:{name}"),
        Target::Unit(unit) => format!("unit:{unit}"),
        Target::Name(name) => return format!("word:{name}"),
    };
    let doubt = if mention.is_certain { "" } else { "?" };
    let hierarchy = mention.hierarchy.as_ref().map(|name| format!("@{name}"));
    format!("{doubt}{target}{}", hierarchy.unwrap_or_default())
}

fn check(lines: Lines) {
    let insert = |text: &str| text.replace("{UID}", UID).replace("{ID}", ID);
    for (line, expected) in lines {
        let found: Vec<String> = mentions(insert(line).as_bytes()).iter().map(short).collect();
        let expected: Vec<String> = expected.iter().map(|expected| insert(expected)).collect();
        assert_eq!(found, expected, "{line}");
    }
}

#[test]
fn lines_of_reports_lead_to_their_cgroups() {
    check(REPORTS);
}

#[test]
fn outputs_and_arguments_lead_to_their_cgroups() {
    check(OUTPUTS);
}

#[test]
fn a_specific_mention_comes_before_any_number_of_others() {
    let many: Vec<String> = (0..500).map(|number| format!("/x{number} unit{number}.service")).collect();
    let found = mentions(format!("{} /sys/fs/cgroup/memory/a", many.join(" ")).as_bytes());
    assert_eq!(found.len(), MAX_MENTIONS);
    assert_eq!(short(&found[0]), "/a@memory");
}

proptest! {
    #[test]
    fn any_text_has_a_bounded_number_of_mentions(text in prop::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(mentions(&text).len() <= MAX_MENTIONS);
    }

    #[test]
    fn a_path_is_found_in_any_quotes(
        path in "(/[a-z]{5,9}){1,4}",
        quote in "[\"'` ]",
        end in "[.,:;!?\r]{0,3}",
    ) {
        let path = format!("/top.slice{path}");
        let found = mentions(format!("x {quote}{path}{quote}{end} no such file").as_bytes());
        let paths: Vec<Target> = found.into_iter().map(|mention| mention.target).collect();
        prop_assert_eq!(paths, [Target::Path(path.into_bytes())]);
    }

    #[test]
    fn a_path_is_found_below_any_view_of_its_mount(path in "(/[a-z]{5,9}){1,4}", view in "(/[a-z0-9]{1,6}){0,4}") {
        let text = format!("x {view}/sys/fs/cgroup/memory{path}/memory.max");
        let found: Vec<String> = mentions(text.as_bytes()).iter().map(short).collect();
        prop_assert_eq!(found, [format!("{path}@memory")]);
    }

    #[test]
    fn every_spelling_of_a_container_is_found(id in "[0-9a-f]{64}", form in 0_usize..7) {
        let forms = [
            format!("containerd://{id}"), format!("docker-{id}.scope"), format!("libpod-{id}.scope"),
            format!("crio-{id}"), format!("\"id\":\"{id}\""), format!("ctr/{id}"), id.clone(),
        ];
        let found = mentions(format!("x {} y", forms[form]).as_bytes());
        prop_assert_eq!(short(&found[0]), format!("ctr:{id}"));
    }

    #[test]
    fn a_proc_line_gives_its_path_whatever_it_contains(path in "(/[ -~]{1,12}){1,3}", id in 0_u32..99) {
        prop_assume!(!path.contains(',') && path.trim_end() == path && !path.ends_with(" (deleted)"));
        let found = mentions(format!("{id}:pids:{path}\r\n").as_bytes());
        prop_assert_eq!(&found[0].target, &Target::Path(path.into_bytes()));
        prop_assert_eq!(found[0].hierarchy.as_deref(), Some("pids"));
    }

    #[test]
    fn many_mentions_are_cut(count in 0_usize..200) {
        let text = (0..count).map(|number| format!("/a/{number}")).collect::<Vec<_>>().join(" ");
        prop_assert_eq!(mentions(text.as_bytes()).len(), count.min(MAX_MENTIONS));
    }
}
