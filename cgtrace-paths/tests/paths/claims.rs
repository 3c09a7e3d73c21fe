//! Paths that prove a pod or a container, and paths that only claim one.

use cgtrace_paths::parse;

const A: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "kubepods-pod1d7d7a3c_4a2e_4d5a_a2c3_6f2d4a0a7a55.slice";

fn proves(path: &str) -> (bool, bool) {
    let path = path.replace("{A}", A).replace("{P}", POD);
    let parsed = parse(path.as_bytes());
    (parsed.pod_uid.is_some(), parsed.container_id.is_some() || parsed.runtime.is_some())
}

#[test]
fn names_below_user_slice_are_only_claims() {
    let user = "/user.slice/user-1000.slice/user@1000.service";
    for below in [
        "/kubepods.slice/{P}/cri-containerd-{A}.scope",
        "/user.slice/libpod-{A}.scope/container",
        "/docker/{A}",
        "/machine.slice/machine-x.scope",
        "/lxc/web",
    ] {
        assert_eq!(proves(&format!("{user}{below}")), (false, false), "{below}");
    }
    assert_eq!(proves("/user.slice/docker-{A}.scope"), (false, false));
    assert_eq!(proves("/user.slice/user-kubepods.slice/docker/{A}"), (false, false));
}

#[test]
fn names_below_a_service_are_only_claims() {
    assert_eq!(proves("/system.slice/x.service/docker/{A}"), (false, false));
    assert_eq!(proves("/system.slice/x.service/kubepods.slice/{P}/crio-{A}.scope"), (false, false));
    assert_eq!(
        proves("/system.slice/run-1.scope/kubepods/pod0123456789abcdef0123456789abcdef"),
        (false, false)
    );
}

#[test]
fn names_in_unexpected_places_prove_nothing() {
    assert_eq!(proves("/x/kubepods.slice/{P}/crio-{A}.scope"), (false, false));
    assert_eq!(proves("/x.slice/{P}"), (false, false));
    assert_eq!(proves("/x/kubepods/pod0123456789abcdef0123456789abcdef"), (false, false));
    assert_eq!(proves("/system.slice/machine-x.scope"), (false, false));
}

#[test]
fn plausible_ancestries_prove_pods_and_containers() {
    assert_eq!(proves("/kubepods.slice/{P}/cri-containerd-{A}.scope"), (true, true));
    assert_eq!(proves("/system.slice/docker-{A}.scope/kubepods.slice/{P}/crio-{A}.scope"), (true, true));
    assert_eq!(proves("/docker/{A}/kubelet/kubepods/pod0123456789abcdef0123456789abcdef/{A}"), (true, true));
    assert_eq!(proves("/machine.slice/libpod-{A}.scope/container"), (false, true));
    assert_eq!(proves("/build.slice/docker-{A}.scope"), (false, true));
    assert_eq!(proves("/machine.slice/systemd-nspawn@x.service/payload/user.slice/a.scope"), (false, true));
    // Users inside a container only claim, too.
    assert_eq!(proves("/docker/{A}/user.slice/user@1.service/kubepods.slice/{P}"), (false, true));
}
