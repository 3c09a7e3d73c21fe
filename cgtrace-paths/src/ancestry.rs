//! Which pod and container a path proves: only where the runtime's ancestry stands. The owner of a part of the
//! tree can give cgroups in it any name, so that a container's name there is no more than a claim.
//!
//! - Nothing is proven below `user.slice`, nor below the cgroup of a service or scope that is no container.
//! - A scope or a service is a container's if it stands in slices: machined's, libvirt's and nspawn's in `machine.slice`.
//! - A directory is a container's wherever no unit is above it: runtimes take any parent from their administrator.
//! - `kubepods` stands at the root, or in kubelet's own `kubelet`; `kubepods.slice` and `X-kubepods.slice` where systemd
//!   puts them.
//! - The same holds within each container, with its cgroup as the root (kind, k3d, Docker in Docker).

use super::{
    ascii,
    container::{self, Container},
    expand_slice, is_unit,
    pod::{self, Pod},
};

/// The innermost pod and container that the components prove.
pub(super) fn read(components: &[&[u8]]) -> (Pod, Container) {
    let texts: Vec<&str> = components.iter().map(|component| ascii(component).unwrap_or_default()).collect();
    let (mut pod, mut found, mut root) = (Pod::default(), Container::default(), 0);
    for (at, text) in texts.iter().enumerate() {
        let above = texts.get(root..at).unwrap_or_default();
        if above.first() == Some(&"user.slice") {
            return (pod, found);
        }
        match container::of(text, above.last().copied()).filter(|_| stands(text, above)) {
            Some(container) => {
                pod = pod::of(above).unwrap_or(pod);
                (found, root) = (container, at + 1);
            }
            // What is below a unit that is no container is named as that pleases.
            None if is_unit(text) => return (pod::of(above).unwrap_or(pod), found),
            None => {}
        }
    }
    let last = texts.get(root..).unwrap_or_default();
    let claims = last.first() == Some(&"user.slice");
    (pod::of(last).filter(|_| !claims).unwrap_or(pod), found)
}

/// Whether a container of that name can have been made there.
fn stands(text: &str, above: &[&str]) -> bool {
    if !is_unit(text) {
        return true;
    }
    let in_slices = above.iter().all(|above| expand_slice(above).is_some());
    let of_machine = text.starts_with("machine-") || text.starts_with("systemd-nspawn@");
    in_slices && (!of_machine || above.first() == Some(&"machine.slice"))
}

#[cfg(test)]
mod tests {
    use crate::parse;

    const A: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const POD: &str = "kubepods-pod1d7d7a3c_4a2e_4d5a_a2c3_6f2d4a0a7a55.slice";

    fn proves(path: &str) -> (bool, bool) {
        let path = path.replace("{A}", A).replace("{P}", POD);
        let parsed = parse(path.as_bytes());
        (parsed.pod_uid.is_some(), parsed.container_id.is_some() || parsed.runtime.is_some())
    }

    #[test]
    fn a_user_only_claims() {
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
    fn a_service_only_claims() {
        assert_eq!(proves("/system.slice/x.service/docker/{A}"), (false, false));
        assert_eq!(proves("/system.slice/x.service/kubepods.slice/{P}/crio-{A}.scope"), (false, false));
        assert_eq!(
            proves("/system.slice/run-1.scope/kubepods/pod0123456789abcdef0123456789abcdef"),
            (false, false)
        );
    }

    #[test]
    fn what_is_put_elsewhere_proves_nothing() {
        assert_eq!(proves("/x/kubepods.slice/{P}/crio-{A}.scope"), (false, false));
        assert_eq!(proves("/x.slice/{P}"), (false, false));
        assert_eq!(proves("/x/kubepods/pod0123456789abcdef0123456789abcdef"), (false, false));
        assert_eq!(proves("/system.slice/machine-x.scope"), (false, false));
    }

    #[test]
    fn ancestries_that_stand() {
        assert_eq!(proves("/kubepods.slice/{P}/cri-containerd-{A}.scope"), (true, true));
        assert_eq!(proves("/system.slice/docker-{A}.scope/kubepods.slice/{P}/crio-{A}.scope"), (true, true));
        assert_eq!(
            proves("/docker/{A}/kubelet/kubepods/pod0123456789abcdef0123456789abcdef/{A}"),
            (true, true)
        );
        assert_eq!(proves("/machine.slice/libpod-{A}.scope/container"), (false, true));
        assert_eq!(proves("/build.slice/docker-{A}.scope"), (false, true));
        assert_eq!(
            proves("/machine.slice/systemd-nspawn@x.service/payload/user.slice/a.scope"),
            (false, true)
        );
        // Its own users only claim, too.
        assert_eq!(proves("/docker/{A}/user.slice/user@1.service/kubepods.slice/{P}"), (false, true));
    }
}
