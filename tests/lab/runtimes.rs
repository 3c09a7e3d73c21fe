//! Real container runtimes: every cgroup that they make is told with its runtime and container id, is there while the
//! container is, and none of them remains in the index.
//!
//! What a name does not prove is not told: runc and ctr are given a name by their caller, and it says who that is.

mod containerd;
mod docker;
mod lxc;
mod nspawn;
mod podman;
mod runc;
mod scene;

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
