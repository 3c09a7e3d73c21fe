//! Facts for the tests of the rules.

use cgtrace_client::wire::{
    CgroupRef, Event, EventKind, HierarchyResult, Instance, Membership, PathResult, Task, Timestamp,
};
use cgtrace_why::{
    facts::{Facts, Observer, Process, Unit},
    report::{Cause, Remedy, Verdict},
    rules::Settings,
};

/// The cgroup in most tests.
pub const KUBELET: &str = "/system.slice/kubelet.service";

/// Searches all findings of a verdict.
pub trait Holds {
    /// Whether a cause holds, first or not.
    fn holds(&self, cause: Cause) -> bool;
}

impl Holds for Verdict {
    fn holds(&self, cause: Cause) -> bool {
        self.cause == cause || self.other_findings.iter().any(|finding| finding.cause == cause)
    }
}

/// When observation begins, in seconds since boot.
const OBSERVED_SINCE: u64 = 100;

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_ns(i128::from(seconds) * 1_000_000_000, seconds * 1_000_000_000)
}

pub fn task(pid: u32, comm: &str) -> Task {
    Task { pid, tid: pid, comm: comm.to_owned(), uid: Some(0), ..Task::default() }
}

pub fn absent(hierarchy: &str) -> HierarchyResult {
    HierarchyResult {
        hierarchy: hierarchy.to_owned(),
        observed_since: at(OBSERVED_SINCE),
        complete_since: Some(at(OBSERVED_SINCE)),
        scanned: true,
        ..HierarchyResult::default()
    }
}

pub fn present(hierarchy: &str) -> HierarchyResult {
    let instance = Instance {
        id: 7,
        created_at: Some(at(200)),
        created_by: Some(task(1, "systemd")),
        ..Instance::default()
    };
    HierarchyResult { present: true, current: Some(instance), ..absent(hierarchy) }
}

pub fn removed(hierarchy: &str) -> HierarchyResult {
    let instance = Instance {
        id: 7,
        created_at: Some(at(200)),
        removed_at: Some(at(290)),
        removed_by: Some(task(1, "systemd")),
        ..Instance::default()
    };
    HierarchyResult { previous: vec![instance], ..absent(hierarchy) }
}

pub fn path_result(path: &str, hierarchies: Vec<HierarchyResult>) -> PathResult {
    PathResult {
        path: path.to_owned(),
        present: hierarchies.iter().any(|result| result.present),
        hierarchies,
        ..PathResult::default()
    }
}

/// A machine with only v2.
pub fn on_v2(path: &str, is_present: bool) -> Facts {
    let result = if is_present { present("v2") } else { absent("v2") };
    Facts { path: path.to_owned(), now: at(300), result: path_result(path, vec![result]), ..Facts::default() }
}

pub fn process(pid: u32, comm: &str, cgroup: &str, started: u64) -> Process {
    let cgroups = vec![Membership { hierarchy: "v2".to_owned(), path: cgroup.to_owned() }];
    let task = Task { start_boot_ns: Some(at(started).boot_ns), ..task(pid, comm) };
    Process { task, of_unit: true, started: at(started), cgroups, ..Process::default() }
}

pub fn observer(process: Process, arguments: &[&str]) -> Observer {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let settings = Settings::of_command_line(&arguments);
    Observer { process, arguments, settings, ..Observer::default() }
}

pub fn unit(id: &str, active: &str, sub: &str) -> Unit {
    Unit {
        id: id.to_owned(),
        load_state: "loaded".to_owned(),
        active_state: active.to_owned(),
        sub_state: sub.to_owned(),
        slice: "system.slice".to_owned(),
        ..Unit::default()
    }
}

pub fn moved(task: Task, from: &str, to: &str, by: Task, seconds: u64) -> Event {
    let moment = at(seconds);
    Event {
        kind: EventKind::Attach,
        time: moment.time,
        boot_ns: moment.boot_ns,
        hierarchy: Some("v2".to_owned()),
        path: Some(to.to_owned()),
        from: Some(CgroupRef { id: 1, path: Some(from.to_owned()), path_hex: None }),
        task: Some(task),
        by: Some(by),
        ..Event::default()
    }
}

/// The texts of remedies.
pub fn texts(remediation: &[Remedy]) -> Vec<&str> {
    remediation.iter().map(|remedy| remedy.text.as_str()).collect()
}
