//! The privileges of the caller.

use std::{fs, os::unix::fs::MetadataExt as _};

use cgtrace_client::wire::Check;
use rustix::{
    process::geteuid,
    thread::{CapabilitySet, capabilities},
};

use super::{ok, warn};
use crate::daemon::service::NEEDS;

/// `PROC_USER_INIT_INO` of `include/linux/proc_ns.h`: the inode number of the first user namespace.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// The facts about the caller.
#[derive(Debug)]
pub struct PrivilegeFacts {
    uid: u32,
    effective: CapabilitySet,
    /// Whether capabilities are those of a user namespace, in which the kernel does not load programs.
    in_user_namespace: bool,
}

impl PrivilegeFacts {
    pub fn gather() -> Self {
        Self {
            uid: geteuid().as_raw(),
            effective: capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective),
            in_user_namespace: fs::metadata("/proc/self/ns/user")
                .is_ok_and(|namespace| namespace.ino() != INITIAL_USER_NAMESPACE),
        }
    }
}

/// Without a daemon, tracing needs privileges; with one, nothing does.
pub fn check(facts: &PrivilegeFacts, daemon: bool) -> Check {
    let (held, missing): (Vec<_>, Vec<_>) =
        NEEDS.iter().partition(|need| facts.effective.contains(need.capability));
    let names = |needs: &[&crate::daemon::service::Need]| {
        needs.iter().map(|need| need.name).collect::<Vec<_>>().join(", ")
    };
    let uid = facts.uid;
    let text = match (missing.is_empty(), facts.in_user_namespace) {
        (true, false) => return ok("privileges", format!("uid {uid}, has {}", names(&held))),
        (true, true) => {
            format!("uid {uid} of a user namespace, where the kernel loads no tracing programs")
        }
        (false, _) => format!("uid {uid}, lacks {}", names(&missing)),
    };
    if daemon {
        return ok("privileges", format!("{text}; the daemon answers without"));
    }
    warn(
        "privileges",
        text,
        "run as root on the host, or start the daemon; until then cgroupfs answers, without history",
    )
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::CheckResult;

    use super::*;

    #[test]
    fn only_without_a_daemon_privileges_are_missed() {
        let nobody =
            PrivilegeFacts { uid: 65_534, effective: CapabilitySet::empty(), in_user_namespace: false };
        assert_eq!(check(&nobody, true).result, CheckResult::Ok);
        let alone = check(&nobody, false);
        assert_eq!(alone.result, CheckResult::Warn);
        assert_eq!(alone.text, "uid 65534, lacks CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH");
        let root = PrivilegeFacts { uid: 0, effective: CapabilitySet::all(), in_user_namespace: false };
        assert_eq!(check(&root, false).result, CheckResult::Ok);
        let mapped = PrivilegeFacts { in_user_namespace: true, ..root };
        assert_eq!(check(&mapped, false).result, CheckResult::Warn);
    }
}
