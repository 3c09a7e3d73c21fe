//! Real container runtimes: every cgroup that they create is reported with its runtime and container id, is
//! present as long as the container, and is removed from the index with it.
//!
//! Only facts proven by the path are reported: the callers of runc and ctr choose the path, so it names the
//! caller.

mod containerd;
mod docker;
mod lxc;
mod nspawn;
mod podman;
mod runc;
pub mod scene;

use libtest_mimic::Trial;

use crate::support::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("runtimes::runc", runc::as_root),
        trial("runtimes::runc_rootless", runc::rootless),
        trial("runtimes::podman", podman::container),
        trial("runtimes::containerd", containerd::containers),
        trial("runtimes::docker", docker::container),
        trial("runtimes::lxc", lxc::container),
        trial("runtimes::nspawn", nspawn::container),
    ]
}
