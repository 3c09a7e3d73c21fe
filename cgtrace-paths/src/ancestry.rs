//! Which pod and container a path proves. The owner of a subtree can give its cgroups any name, so a
//! container's name is proof only where a runtime would have created the cgroup.
//!
//! - Nothing is proven below `user.slice`, nor below a service or scope that is not a container.
//! - A scope or service is a container only inside slices; those of machined, libvirt and nspawn only in
//!   `machine.slice`.
//! - A directory is a container unless there is a unit above it: administrators can configure any parent.
//! - `kubepods` is at the root, or in kubelet's own `kubelet`; `kubepods.slice` and `X-kubepods.slice` are
//!   where systemd places them.
//! - The same rules apply inside each container, with its cgroup as the root (kind, k3d, Docker in Docker).

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
        match container::of(text, above.last().copied()).filter(|_| is_plausible(text, above)) {
            Some(container) => {
                pod = pod::of(above).unwrap_or(pod);
                (found, root) = (container, at + 1);
            }
            // A unit that is not a container chooses any names below its cgroup.
            None if is_unit(text) => return (pod::of(above).unwrap_or(pod), found),
            None => {}
        }
    }
    let last = texts.get(root..).unwrap_or_default();
    let claims = last.first() == Some(&"user.slice");
    (pod::of(last).filter(|_| !claims).unwrap_or(pod), found)
}

/// Whether a runtime could have created a container with that name there.
fn is_plausible(text: &str, above: &[&str]) -> bool {
    if !is_unit(text) {
        return true;
    }
    let in_slices = above.iter().all(|above| expand_slice(above).is_some());
    let of_machine = text.starts_with("machine-") || text.starts_with("systemd-nspawn@");
    in_slices && (!of_machine || above.first() == Some(&"machine.slice"))
}
