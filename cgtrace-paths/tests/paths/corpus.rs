//! Real paths from bug reports and machines, and what they prove.

use cgtrace_paths::{Qos, Runtime, parse};

const A: &str = "8d5e4a1c0b7f4f3a9c2d6e8b1a0f7c5d3e2b4a6c8d0e1f2a3b4c5d6e7f8a9b0c";

/// What a path proves.
#[derive(Debug, Default, PartialEq)]
struct Proof<'a> {
    unit: Option<&'a str>,
    user_unit: Option<&'a str>,
    slice: Option<&'a str>,
    pod: Option<&'a str>,
    qos: Option<Qos>,
    container: Option<&'a str>,
    runtime: Option<Runtime>,
}

const NONE: Proof<'static> =
    Proof { unit: None, user_unit: None, slice: None, pod: None, qos: None, container: None, runtime: None };

const UID: &str = "2ab5a1b8-7f0d-11e8-9d3e-0050569c2f3a";
const STATIC: &str = "a6e1d2d0c8f04b0b9f2a6a4f8d3b5c7e";

fn unit<'a>(slice: &'a str, unit: &'a str) -> Proof<'a> {
    Proof { slice: Some(slice), unit: Some(unit), ..NONE }
}

fn check(path: &str, expected: &Proof) {
    // `A` is an id of 64 digits, `U` and `V` are a pod's UID in both forms, and `S` is that of a static pod.
    let path = path
        .replace("{A}", A)
        .replace("{U}", UID)
        .replace("{V}", &UID.replace('-', "_"))
        .replace("{S}", STATIC);
    let parsed = parse(path.as_bytes());
    let found = Proof {
        unit: parsed.unit.as_deref(),
        user_unit: parsed.user_unit.as_deref(),
        slice: parsed.slice.as_deref(),
        pod: parsed.pod_uid.as_deref(),
        qos: parsed.qos,
        container: parsed.container_id.as_deref(),
        runtime: parsed.runtime,
    };
    assert_eq!(&found, expected, "{path}");
}

#[test]
fn units_of_the_system() {
    check("/", &NONE);
    check("/init.scope", &Proof { unit: Some("init.scope"), ..NONE });
    check("/system.slice", &Proof { slice: Some("system.slice"), ..NONE });
    check("/system.slice/kubelet.service", &unit("system.slice", "kubelet.service"));
    check("/system.slice/docker.service", &unit("system.slice", "docker.service"));
    check("/podruntime.slice/kubelet.service", &unit("podruntime.slice", "kubelet.service"));
    check(
        "/system.slice/system-getty.slice/getty@tty1.service",
        &unit("system-getty.slice", "getty@tty1.service"),
    );
    let fsck = "systemd-fsck@dev-disk-by\\x2dlabel-UEFI.service";
    check(
        &format!("/system.slice/system-systemd\\x2dfsck.slice/{fsck}"),
        &unit("system-systemd\\x2dfsck.slice", fsck),
    );
    check("/system.slice/dev-hugepages.mount", &unit("system.slice", "dev-hugepages.mount"));
    check("/sys/fs/cgroup/systemd/system.slice/kubelet.service", &unit("system.slice", "kubelet.service"));
    check("/systemd/system.slice", &Proof { slice: Some("system.slice"), ..NONE });
    check("/system.slice/_cpu.service", &unit("system.slice", "cpu.service"));
    check("/system.slice/k3s.service/kubepods", &unit("system.slice", "k3s.service"));
    check("/system.slice/containerd.service/kubepods-x", &unit("system.slice", "containerd.service"));
}

#[test]
fn units_of_users() {
    let slice = Some("user-1000.slice");
    check(
        "/user.slice/user-1000.slice/session-4.scope",
        &Proof { slice, unit: Some("session-4.scope"), ..NONE },
    );
    let user = Some("user@1000.service");
    check(
        "/user.slice/user-1000.slice/user@1000.service/init.scope",
        &Proof { slice, unit: user, user_unit: Some("init.scope"), ..NONE },
    );
    check(
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-4d0d.scope",
        &Proof { slice, unit: user, user_unit: Some("vte-spawn-4d0d.scope"), ..NONE },
    );
    check(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container",
        &Proof {
            slice,
            unit: user,
            // Only the user claims that it is a container.
            user_unit: Some(&format!("libpod-{A}.scope")),
            ..NONE
        },
    );
}

#[test]
fn pods_of_the_cgroupfs_driver() {
    let pod = |uid, qos| Proof { pod: Some(uid), qos: Some(qos), ..NONE };
    check("/kubepods", &NONE);
    check("/kubepods/besteffort", &Proof { qos: Some(Qos::BestEffort), ..NONE });
    check("/kubepods/burstable/pod{U}", &pod(UID, Qos::Burstable));
    check("/kubepods/pod{U}", &pod(UID, Qos::Guaranteed));
    check("/kubepods/burstable/pod{S}", &pod(STATIC, Qos::Burstable));
    check("/kubepods/besteffort/pod{U}/{A}", &Proof { container: Some(A), ..pod(UID, Qos::BestEffort) });
    check(
        "/kubepods/burstable/pod{U}/crio-{A}",
        &Proof { container: Some(A), runtime: Some(Runtime::Crio), ..pod(UID, Qos::Burstable) },
    );
    check(
        "/kubepods/burstable/pod{U}/crio-conmon-{A}",
        &Proof { runtime: Some(Runtime::Crio), ..pod(UID, Qos::Burstable) },
    );
    // kind, whose nodes are containers.
    check(
        "/docker/{A}/kubelet/kubepods/burstable/pod{U}/{A}",
        &Proof { container: Some(A), ..pod(UID, Qos::Burstable) },
    );
    // Pods outside of kubepods, and invalid names of pods, prove nothing.
    check("/burstable/pod{U}", &NONE);
    check("/burstable/pod12", &NONE);
    check("/podman", &NONE);
    check("/kubepods/burstable/podx", &Proof { qos: Some(Qos::Burstable), ..NONE });
    check("/xkubepods-podx.slice", &Proof { slice: Some("xkubepods-podx.slice"), ..NONE });
}

#[test]
fn pods_of_the_systemd_driver() {
    let class = "/kubepods.slice/kubepods-burstable.slice";
    let slice = format!("kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
    let pod = Proof { slice: Some(&slice), pod: Some(UID), qos: Some(Qos::Burstable), ..NONE };
    let path = format!("{class}/{slice}");
    check(&path, &pod);
    check(class, &Proof { slice: Some("kubepods-burstable.slice"), qos: Some(Qos::Burstable), ..NONE });
    for (leaf, runtime) in [
        ("cri-containerd-{A}.scope", Runtime::Containerd),
        ("crio-{A}.scope", Runtime::Crio),
        ("docker-{A}.scope", Runtime::Docker),
    ] {
        let leaf = leaf.replace("{A}", A);
        let expected = Proof { unit: Some(&leaf), container: Some(A), runtime: Some(runtime), ..pod };
        check(&format!("{path}/{leaf}"), &expected);
    }
    let slice = format!("kubepods-pod{}.slice", UID.replace('-', "_"));
    let pod = Proof { slice: Some(&slice), pod: Some(UID), qos: Some(Qos::Guaranteed), ..NONE };
    check(&format!("/kubepods.slice/{slice}"), &pod);
    let slice = format!("kubepods-besteffort-pod{}.slice", UID.replace('-', "_"));
    let pod = Proof { slice: Some(&slice), pod: Some(UID), qos: Some(Qos::BestEffort), ..NONE };
    check(&format!("/kubepods.slice/kubepods-besteffort.slice/{slice}"), &pod);
    let slice = format!("kubelet-kubepods-besteffort-pod{}.slice", UID.replace('-', "_"));
    let pod = Proof { slice: Some(&slice), pod: Some(UID), qos: Some(Qos::BestEffort), ..NONE };
    let parents = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice";
    check(&format!("{parents}/{slice}"), &pod);
}

#[test]
fn containers_without_pods() {
    let container = |id, runtime| Proof { container: Some(id), runtime: Some(runtime), ..NONE };
    check("/docker/{A}", &container(A, Runtime::Docker));
    check("/docker", &NONE);
    check("/actions_job/{A}", &Proof { container: Some(A), ..NONE });
    check("/ecs/0123-4567/{A}", &Proof { container: Some(A), ..NONE });
    check("/docker/{A}/system.slice/x.service", &container(A, Runtime::Docker));
    check(
        "/machine.slice/libpod-conmon-{A}.scope",
        &Proof {
            unit: Some(&format!("libpod-conmon-{A}.scope")),
            slice: Some("machine.slice"),
            runtime: Some(Runtime::Podman),
            ..NONE
        },
    );
    check("/libpod_parent/libpod-{A}", &container(A, Runtime::Podman));
    check("/x/crio-{A}", &container(A, Runtime::Crio));
    check("/kubepods/{A}", &Proof { container: Some(A), ..NONE });
    // The innermost container is reported.
    check(
        &format!("/docker/{}/docker/{{A}}/init.scope", A.replace('0', "f")),
        &container(A, Runtime::Docker),
    );
    for (slice, leaf, runtime) in [
        ("system.slice", "docker-{A}.scope", Runtime::Docker),
        ("x.slice", "cri-containerd-{A}.scope", Runtime::Containerd),
        ("x.slice", "libpod-{A}.scope", Runtime::Podman),
    ] {
        let leaf = leaf.replace("{A}", A);
        let expected = Proof { container: Some(A), runtime: Some(runtime), ..unit(slice, &leaf) };
        check(&format!("/{slice}/{leaf}"), &expected);
        check(&format!("/{slice}/{leaf}/container"), &expected);
    }
    check(
        "/x.slice/crio-conmon-{A}.scope",
        &Proof { runtime: Some(Runtime::Crio), ..unit("x.slice", &format!("crio-conmon-{A}.scope")) },
    );
    check("/lxc/web1", &container("web1", Runtime::Lxc));
    check("/lxc.payload/web1", &container("web1", Runtime::Lxc));
    check("/lxc.payload.web1/system.slice/x.service", &container("web1", Runtime::Lxc));
    check("/lxc.monitor.web1", &Proof { runtime: Some(Runtime::Lxc), ..NONE });
    check(
        "/machine.slice/machine-fedora.scope",
        &Proof {
            unit: Some("machine-fedora.scope"),
            slice: Some("machine.slice"),
            ..container("fedora", Runtime::Nspawn)
        },
    );
    check(
        "/machine.slice/machine-debian.scope/payload",
        &Proof {
            container: Some("debian"),
            runtime: Some(Runtime::Nspawn),
            ..unit("machine.slice", "machine-debian.scope")
        },
    );
    let machine = "machine-qemu\\x2d1\\x2dmy\\x2dvm.scope";
    check(
        &format!("/machine.slice/{machine}"),
        &Proof {
            container: Some("qemu-1-my-vm"),
            runtime: Some(Runtime::Libvirt),
            ..unit("machine.slice", machine)
        },
    );
    check(
        "/machine.slice/systemd-nspawn@fedora.service/payload/init.scope",
        &Proof {
            unit: Some("systemd-nspawn@fedora.service"),
            slice: Some("machine.slice"),
            ..container("fedora", Runtime::Nspawn)
        },
    );
    check(
        "/machine.slice/machine-qemu\\x2d7\\x2dweb.scope/libvirt/emulator",
        &Proof {
            unit: Some("machine-qemu\\x2d7\\x2dweb.scope"),
            slice: Some("machine.slice"),
            ..container("qemu-7-web", Runtime::Libvirt)
        },
    );
}

#[test]
fn comms_are_expected_after_their_units() {
    let of = |path: &str| parse(path.as_bytes()).expected_comm();
    assert_eq!(of("/system.slice/kubelet.service").as_deref(), Some("kubelet"));
    assert_eq!(of("/system.slice/system-getty.slice/getty@tty1.service").as_deref(), Some("getty"));
    assert_eq!(of("/system.slice/systemd-journald.service").as_deref(), Some("systemd-journal"));
    assert_eq!(of("/kubelet").as_deref(), Some("kubelet"));
    assert_eq!(of("/system.slice"), None);
    assert_eq!(of("/docker/x/").as_deref(), Some("x"));
}
