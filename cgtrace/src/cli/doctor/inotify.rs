//! The inotify limits of the caller's user: for root, those of kubelet and cAdvisor.

use std::{
    fs,
    time::{Duration, Instant},
};

use cgtrace_client::wire::Check;
use cgtrace_host::process::inotify_of;
use rustix::process::geteuid;

use super::{ok, warn};

/// How long instances and watches are counted.
const COUNTING: Duration = Duration::from_millis(500);

/// The facts about inotify.
#[derive(Debug)]
pub struct InotifyFacts {
    uid: u32,
    limits: Vec<Limit>,
}

#[derive(Debug)]
struct Limit {
    /// The sysctl.
    name: &'static str,
    what: &'static str,
    max: Option<u64>,
    /// How many the user's processes have; `None` if counting them took too long.
    used: Option<u64>,
}

impl InotifyFacts {
    pub fn gather() -> Self {
        let uid = geteuid().as_raw();
        let used = inotify_of(uid, Instant::now() + COUNTING);
        let read = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
            text.trim().parse().ok()
        };
        let watches = Limit {
            name: "max_user_watches",
            what: "watches",
            max: read("max_user_watches"),
            used: used.as_ref().map(|used| used.watches),
        };
        let instances = Limit {
            name: "max_user_instances",
            what: "instances",
            max: read("max_user_instances"),
            used: used.as_ref().map(|used| used.instances),
        };
        Self { uid, limits: vec![watches, instances] }
    }
}

pub fn checks(InotifyFacts { uid, limits }: &InotifyFacts) -> Vec<Check> {
    let text = |limit: &Limit| {
        let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
        format!("{} of {} {}", number(limit.used), number(limit.max), limit.what)
    };
    // Nine tenths, without rounding.
    let near = |limit: &&Limit| match (limit.used, limit.max) {
        (Some(used), Some(max)) => used.saturating_mul(10) >= max.saturating_mul(9),
        _ => false,
    };
    let scarce: Vec<&Limit> = limits.iter().filter(near).collect();
    if scarce.is_empty() {
        let all: Vec<String> = limits.iter().map(text).collect();
        return vec![ok("inotify", format!("uid {uid} uses {}", all.join(", ")))];
    }
    let scarce = scarce.into_iter().map(|limit| {
        let more = limit.max.unwrap_or_default().saturating_mul(2);
        warn(
            "inotify",
            format!("uid {uid} uses {}: its watchers may miss new cgroups", text(limit)),
            format!("sudo sysctl fs.inotify.{}={more}", limit.name),
        )
    });
    scarce.collect()
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::CheckResult;

    use super::*;

    fn check(used: Option<u64>) -> Check {
        let limit = Limit { name: "max_user_instances", what: "instances", max: Some(128), used };
        checks(&InotifyFacts { uid: 0, limits: vec![limit] }).remove(0)
    }

    #[test]
    fn a_limit_that_is_nearly_reached_is_a_warning() {
        assert_eq!(check(Some(115)).text, "uid 0 uses 115 of 128 instances");
        assert_eq!(check(None).text, "uid 0 uses ? of 128 instances");
        let near = check(Some(116));
        assert_eq!(near.result, CheckResult::Warn);
        assert_eq!(near.next_step.unwrap(), "sudo sysctl fs.inotify.max_user_instances=256");
    }
}
