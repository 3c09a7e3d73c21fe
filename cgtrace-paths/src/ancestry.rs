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
