//! What is wrong with this path on this hierarchy comes first, and no sentence says more than the facts.

use std::collections::BTreeMap;

use cgtrace_client::wire::{Event, Gap, HierarchyResult, Task};
use cgtrace_why::{
    facts::{CgroupState, Facts, Level, Member},
    report::Cause,
    rules::explain,
};

use crate::fixtures::{
    Holds as _, KUBELET, absent, at, moved, observer, on_v2, path_result, present, process, removed, task,
    texts, unit,
};

fn with(path: &str, results: Vec<HierarchyResult>) -> Facts {
    Facts { path: path.to_owned(), now: at(300), result: path_result(path, results), ..Facts::default() }
}

fn on(hierarchy: &str, event: Event) -> Event {
    Event { hierarchy: Some(hierarchy.to_owned()), ..event }
}

#[test]
fn a_removal_is_not_hidden_by_presence_elsewhere() {
    let mut facts = with(KUBELET, vec![present("name=systemd"), removed("memory"), absent("pids")]);
    facts.hierarchy = Some("memory".to_owned());
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::Removed);
    assert!(verdict.holds(Cause::PresentElsewhere) && !verdict.present);
    assert!(verdict.explanation.contains("existed on memory and was removed at 1970-01-01T00:04:50.000Z"));
    assert!(verdict.explanation.contains("It exists on name=systemd."), "{verdict:?}");
    // Without a hierarchy, too, if both existed at the same time.
    facts.hierarchy = None;
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::Removed);
    assert!(verdict.present && !verdict.visible && verdict.holds(Cause::Present));
    // An earlier instance proves nothing about the present one.
    facts.result.hierarchies[0].current.as_mut().unwrap().created_at = Some(at(295));
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::Present);
    assert!(verdict.visible && !verdict.holds(Cause::Removed));
}

#[test]
fn a_move_is_of_the_hierarchy_in_question() {
    let path = "/docker/c8cef9e2ff11";
    let mut facts = with(path, vec![present("memory"), present("devices"), present("cpuset")]);
    for name in ["memory", "devices"] {
        let by = task(1, "systemd");
        facts.moves.push(on(name, moved(task(42, "nginx"), path, "/user.slice", by, 250)));
    }
    facts.populated = ["memory", "devices", "cpuset"]
        .map(|name| ((path.to_owned(), name.to_owned()), name == "cpuset"))
        .into();
    let ask = |hierarchy: Option<&str>| {
        explain(&Facts { hierarchy: hierarchy.map(str::to_owned), ..facts.clone() })
    };
    let memory = ask(Some("memory"));
    assert_eq!(memory.cause, Cause::MovedAway);
    assert!(memory.evidence[0].ends_with("on memory") && !memory.visible, "{memory:?}");
    assert!(memory.remediation[0].text.contains("Delegate=yes"), "{memory:?}");
    let cpuset = ask(Some("cpuset"));
    assert!(cpuset.cause == Cause::Present && !cpuset.holds(Cause::MovedAway), "{cpuset:?}");
    let all = ask(None);
    assert_eq!(all.cause, Cause::MovedAway);
    assert!(
        all.explanation
            .contains("on memory and devices: 2 of the 3 hierarchies that have or had this cgroup"),
        "{all:?}"
    );
    assert!(all.explanation.contains("empty there now") && all.visible, "{all:?}");
}

#[test]
fn the_service_managers_child_did_not_move_itself() {
    let path = "/my_slice";
    let child = task(42, "(my_proc)");
    let mut facts = on_v2(path, true);
    facts.populated = BTreeMap::from([((path.to_owned(), "v2".to_owned()), false)]);
    facts.moves = vec![moved(child.clone(), path, "/system.slice/test.service", child, 250)];
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::MovedAway);
    let explanation = &verdict.explanation;
    assert!(
        explanation.contains("systemd moved it to '/system.slice/test.service', for the unit test.service")
    );
    assert!(!explanation.contains("itself"), "{explanation}");
    assert!(verdict.evidence[0].contains("by systemd, for the unit test.service"), "{verdict:?}");
    assert!(verdict.remediation[0].text.contains("set Slice= in the unit"), "{verdict:?}");
}

#[test]
fn a_kubelet_in_a_session_was_started_outside_systemd() {
    let session = "/user.slice/user-0.slice/session-4.scope";
    let mut facts = with(
        session,
        vec![present("name=systemd"), absent("memory"), absent("cpu,cpuacct"), absent("cpuset")],
    );
    let mut kubelet = observer(process(42, "kubelet", session, 250), &["kubelet"]);
    facts.observer = Some(kubelet.clone());
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::StartedOutsideSystemd);
    assert!(verdict.present && !verdict.visible && verdict.holds(Cause::PresentElsewhere));
    assert!(verdict.remediation[0].text.contains("create a unit kubelet.service"), "{verdict:?}");
    for finding in verdict.findings() {
        assert!(texts(&finding.remediation).iter().all(|text| !text.contains("Accounting")), "{finding:?}");
    }
    kubelet.unit = Some(unit("kubelet.service", "inactive", "dead"));
    facts.observer = Some(kubelet);
    let verdict = explain(&facts);
    assert_eq!(verdict.remediation[0].command.as_deref(), Some("kill 42 && systemctl start kubelet.service"));
    // Another session's scope is not its own.
    facts.observer = Some(observer(process(42, "kubelet", "/other", 250), &["kubelet"]));
    assert!(!explain(&facts).holds(Cause::StartedOutsideSystemd));
}

fn containing(path: &str, pids: &[u32]) -> CgroupState {
    let member = |pid: &u32| Member { task: task(*pid, "dockerd"), ..Member::default() };
    CgroupState {
        hierarchy: "v2".to_owned(),
        path: path.to_owned(),
        exists: true,
        levels: vec![Level { path: path.to_owned(), ..Level::default() }],
        members: pids.iter().map(member).collect(),
        ..CgroupState::default()
    }
}

#[test]
fn who_brought_a_process_into_the_unit() {
    let path = "/system.slice/nginx.service";
    let docker = "/system.slice/docker.service";
    let mut facts = on_v2(path, true);
    facts.unit = Some(unit("nginx.service", "active", "running"));
    facts.states = vec![containing(path, &[43, 42])];
    let by_manager = |pid, comm| moved(task(pid, comm), "/init.scope", path, task(1, "systemd"), 210);
    let bring = |by: Task| moved(task(42, "dockerd"), docker, path, by, 250);
    facts.moves = vec![by_manager(43, "systemd"), bring(task(44, "systemd-docker"))];
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::Present);
    let found = verdict.findings().find(|finding| finding.cause == Cause::MovedIn).unwrap();
    assert!(found.explanation.contains(
        "systemd-docker[44] (uid 0) moved dockerd[42] (uid 0) into '/system.slice/nginx.service' from \
         '/system.slice/docker.service'"
    ));
    assert!(found.remediation[0].text.contains("configure systemd-docker not to move it"), "{found:?}");
    // It has left again, or the service manager put it there.
    facts.states = vec![containing(path, &[43])];
    assert!(!explain(&facts).holds(Cause::MovedIn));
    facts.states = vec![containing(path, &[43, 42])];
    facts.moves = vec![bring(task(1, "systemd"))];
    assert!(!explain(&facts).holds(Cause::MovedIn));
}

#[test]
fn a_plain_word_is_not_a_process() {
    let facts = Facts { processes: Some(Vec::new()), ..on_v2("/a/b/c", false) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::NotObserved);
    assert!(!verdict.holds(Cause::NoSuchProcess), "{verdict:?}");
    // A process of that name ran.
    let mut ended = process(7, "c", "/elsewhere", 150);
    ended.exited = true;
    let verdict = explain(&Facts { exited: vec![ended], ..facts });
    assert_eq!(verdict.cause, Cause::NoSuchProcess);
    assert!(verdict.evidence.iter().any(|line| line.contains("c[7]") && line.contains("has exited")));
    assert!(!verdict.explanation.contains("unit"), "{verdict:?}");
}

#[test]
fn a_unit_that_could_not_be_queried_is_not_unknown_to_the_service_manager() {
    let facts = Facts { processes: Some(Vec::new()), ..on_v2(KUBELET, false) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::NoSuchProcess);
    assert!(verdict.explanation.contains("whether there is a unit of that name is not known"), "{verdict:?}");
}

#[test]
fn a_forgotten_instance_is_not_denied() {
    let gap = |reason: &str| Gap { reason: reason.to_owned(), until: at(250), ..Gap::default() };
    let result =
        |reason| HierarchyResult { complete_since: Some(at(250)), gap: Some(gap(reason)), ..absent("v2") };
    let ask = |reason| explain(&with("/gone", vec![result(reason)]));
    let verdict = ask("retention");
    assert_eq!(verdict.cause, Cause::NotObserved);
    assert!(verdict.explanation.contains(
        "No instance of '/gone' is remembered: none has existed since 1970-01-01T00:04:10.000Z, and what was recorded \
         before that was removed from the history"
    ));
    assert!(verdict.remediation[0].text.contains("raise history-size"), "{verdict:?}");
    assert!(ask("lost").remediation[0].text.contains("raise lifecycle-ring"));
    assert!(ask("kinds").remediation[0].text.contains("history-kinds"));
    assert!(ask("stopped").remediation[0].text.contains("start cgtrace at boot"));
}

#[test]
fn an_unscanned_hierarchy_may_have_it() {
    let unscanned = HierarchyResult { scanned: false, ..absent("memory") };
    let verdict = explain(&with("/x", vec![unscanned.clone()]));
    assert!(
        verdict.explanation.contains("memory could not be scanned, so it may exist there"),
        "{verdict:?}"
    );
    let mut facts = with("/x", vec![present("v2"), unscanned]);
    facts.hierarchy = Some("memory".to_owned());
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::PresentElsewhere);
    assert!(verdict.explanation.contains("is not known to exist on memory"), "{verdict:?}");
}

#[test]
fn a_member_of_another_pid_namespace_is_not_below() {
    let mut state = containing(KUBELET, &[]);
    (state.members_in_other_namespaces, state.child_count) = (2, 1);
    let mut facts = on_v2(KUBELET, true);
    facts.unit = Some(unit("kubelet.service", "inactive", "dead"));
    facts.populated = BTreeMap::from([((KUBELET.to_owned(), "v2".to_owned()), true)]);
    facts.states = vec![state];
    let verdict = explain(&facts);
    let elsewhere = "2 processes in another pid namespace (0 in cgroup.procs)";
    let present = verdict.findings().find(|finding| finding.cause == Cause::Present).unwrap();
    assert!(present.evidence.iter().any(|line| line.contains(elsewhere)), "{present:?}");
    let left = verdict.findings().find(|finding| finding.cause == Cause::LeftOverProcesses).unwrap();
    assert!(left.explanation.contains(elsewhere), "{left:?}");
}

#[test]
fn an_empty_cgroup_is_called_empty_at_once() {
    let mut facts = on_v2(KUBELET, true);
    facts.populated = BTreeMap::from([((KUBELET.to_owned(), "v2".to_owned()), false)]);
    assert!(explain(&facts).explanation.ends_with("exists on v2, and contains no process."));
}
