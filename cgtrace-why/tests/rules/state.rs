//! What a cgroup that exists says of itself.

use cgtrace_client::wire::{Event, EventKind};
use cgtrace_why::{
    facts::{CgroupState, Facts, Freezer, Level, Member, Unit, Usage},
    report::{Cause, Finding, Verdict},
    rules::explain,
};
use proptest::prelude::*;

use crate::fixtures::{Holds as _, at, on_v2, task, unit};

const PATH: &str = "/a.slice/job";

/// A cgroup on v2 and its ancestors.
fn state(change: impl FnOnce(&mut CgroupState)) -> CgroupState {
    let level = |path: &str, controllers: &[&str]| Level {
        path: path.to_owned(),
        directory: format!("/sys/fs/cgroup{}", path.trim_end_matches('/')).into_bytes(),
        owner_uid: Some(0),
        procs_uid: Some(0),
        subtree_control_uid: Some(0),
        controllers: Some(words(controllers)),
        subtree_control: Some(Vec::new()),
        ..Level::default()
    };
    let mut levels = vec![level(PATH, &[]), level("/a.slice", &[]), level("/", &["hugetlb", "memory"])];
    levels[0].kind = Some("domain".to_owned());
    levels[0].has_kill = true;
    let mut state = CgroupState {
        hierarchy: "v2".to_owned(),
        path: PATH.to_owned(),
        exists: true,
        levels,
        ..CgroupState::default()
    };
    change(&mut state);
    state
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The commands of the remedies.
fn commands(finding: &Finding) -> Vec<&str> {
    finding.remediation.iter().filter_map(|remedy| remedy.command.as_deref()).collect()
}

fn member(pid: u32, state: Option<&str>) -> Member {
    Member { task: task(pid, "job"), state: state.map(str::to_owned), ..Member::default() }
}

fn facts(change: impl FnOnce(&mut CgroupState)) -> Facts {
    Facts { states: vec![state(change)], ..on_v2(PATH, true) }
}

/// The finding for a cause; the default if it does not hold.
fn finding(verdict: &Verdict, cause: Cause) -> Finding {
    verdict.findings().find(|finding| finding.cause == cause).unwrap_or_default()
}

/// For the properties: any state, consistent or not.
pub fn any_state() -> impl Strategy<Value = CgroupState> {
    let kind =
        prop::sample::select(vec!["domain", "domain invalid", "domain threaded", "threaded", "\u{1b}"]);
    let texts = (kind, prop::sample::select(vec!["v2", "freezer", "\u{7}"]), "(/|\\PC|\u{1b}){0,8}");
    let numbers = (0_u64..3, prop::option::of(0_u64..3), prop::option::of(0_u64..2));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<Option<bool>>());
    (texts, numbers, flags, prop::option::of(0_u32..2), prop::collection::vec(0_u32..3, 0..3)).prop_map(
        |(
            (kind, hierarchy, name),
            (used, max, max_depth),
            (exists, requested, frozen, populated),
            uid,
            pids,
        )| {
            state(|state| {
                hierarchy.clone_into(&mut state.hierarchy);
                state.exists = exists;
                state.children = vec![name.clone()];
                state.child_count = used;
                state.mount_points = pids.iter().map(|_| name.clone()).collect();
                state.members = pids.iter().map(|pid| member(*pid, Some("uninterruptible"))).collect();
                state.unfrozen = state.members.clone();
                state.levels[1].path.clone_from(&name);
                state.levels[1].kind = Some("domain threaded".to_owned());
                state.levels[1].owner_uid = uid;
                state.levels[1].pids = Some(Usage { used, max });
                state.levels[1].freezer = Some(Freezer { requested, frozen });
                state.levels[0].kind = Some(kind.to_owned());
                "/system.slice/kubelet.service".clone_into(&mut state.levels[0].path);
                state.levels[0].pids = Some(Usage { used, max });
                state.levels[0].freezer = Some(Freezer { requested, frozen });
                state.levels[0].descendants = Some(Usage { used, max });
                state.levels[0].max_depth = max_depth;
                state.levels[0].populated = populated;
                state.levels[0].subtree_control = Some(vec![name]);
            })
        },
    )
}

#[test]
fn a_healthy_cgroup_is_present_in_two_lines() {
    let mut facts = facts(|state| state.members = vec![member(7, None)]);
    facts.unit = Some(unit("job.service", "active", "running"));
    let verdict = explain(&facts);
    assert_eq!((verdict.cause, verdict.visible), (Cause::Present, true));
    assert_eq!(verdict.other_findings, []);
    assert_eq!(verdict.evidence[1], "it contains 1 process (job[7]) on v2");
    assert!(verdict.evidence[2].starts_with("job.service: loaded, active (running)"));
    assert_eq!(verdict.evidence.len(), 3);
}

#[test]
fn frozen_by_an_ancestor() {
    let mut facts = facts(|state| {
        state.levels[0].freezer = Some(Freezer { requested: false, frozen: true });
        state.levels[1].freezer = Some(Freezer { requested: true, frozen: true });
    });
    let moment = at(250);
    let by = Some(task(9, "agent"));
    let event =
        |kind| Event { kind, time: moment.time, boot_ns: moment.boot_ns, by: by.clone(), ..Event::default() };
    facts.freezes = vec![event(EventKind::Frozen), event(EventKind::Freeze), event(EventKind::Thaw)];
    let verdict = explain(&facts);
    assert!(verdict.cause == Cause::Present && verdict.visible);
    let frozen = finding(&verdict, Cause::Frozen);
    assert!(frozen.explanation.contains("is frozen: freezing its ancestor '/a.slice'"), "{frozen:?}");
    assert!(frozen.evidence[1].contains("requested at 1970-01-01T00:04:10.000Z by agent[9]"), "{frozen:?}");
    assert_eq!(commands(&frozen), ["echo 0 > /sys/fs/cgroup/a.slice/cgroup.freeze"]);
    // What was not recorded is not claimed.
    facts.freezes = vec![event(EventKind::Thaw), event(EventKind::Freeze)];
    assert!(finding(&explain(&facts), Cause::Frozen).evidence[1].contains("is not known"));
}

#[test]
fn freezing_waits_for_a_process() {
    let verdict = explain(&facts(|state| {
        state.levels[0].freezer = Some(Freezer { requested: true, frozen: false });
        let stuck = member(7, Some("uninterruptible"));
        state.unfrozen = vec![Member { wchan: Some("request_wait_answer".to_owned()), ..stuck }];
    }));
    let frozen = finding(&verdict, Cause::Frozen);
    assert!(frozen.explanation.contains("job[7] cannot be stopped"), "{frozen:?}");
    assert!(
        frozen.evidence.iter().any(|line| line.contains("(state D) in request_wait_answer")),
        "{frozen:?}"
    );
}

#[test]
fn limits_of_each_level() {
    let change = |state: &mut CgroupState| {
        state.levels[1].descendants = Some(Usage { used: 4, max: Some(4) });
        state.levels[0].descendants = Some(Usage { used: 3, max: Some(4) });
        state.levels[2].max_depth = Some(3);
        state.levels[1].max_depth = Some(1);
        state.levels[1].pids = Some(Usage { used: 9, max: Some(9) });
        state.levels[0].pids = Some(Usage { used: 9, max: None });
    };
    let limit = finding(&explain(&facts(change)), Cause::LimitReached);
    assert_eq!(
        commands(&limit),
        [
            "echo max > /sys/fs/cgroup/a.slice/cgroup.max.descendants",
            "echo max > /sys/fs/cgroup/a.slice/cgroup.max.depth",
            "echo max > /sys/fs/cgroup/a.slice/pids.max",
        ]
    );
    assert!(limit.explanation.contains("would be 2 levels below it"), "{limit:?}");
    // A cgroup that does not exist may be missing because of a limit.
    let mut facts = Facts { states: vec![state(change)], ..on_v2("/a.slice/job/x", false) };
    facts.states[0].path = "/a.slice/job/x".to_owned();
    facts.states[0].exists = false;
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::LimitReached);
    assert!(verdict.explanation.contains("mkdir(2) of '/a.slice/job/x' fails with EAGAIN"), "{verdict:?}");
    assert!(!verdict.explanation.contains("pids.max"), "{verdict:?}");
    // Its parents are missing, too: they could be created.
    facts.states[0].path = "/a.slice/job/x/y/z".to_owned();
    facts.states[0].levels[1] = Level { max_depth: Some(3), ..facts.states[0].levels[0].clone() };
    let verdict = explain(&facts);
    assert!(verdict.explanation.contains("would be 4 levels below it"), "{verdict:?}");
}

#[test]
fn the_types_of_threaded_subtrees() {
    let kinds = |own: &str, parent: &str| {
        let (own, parent) = (own.to_owned(), parent.to_owned());
        facts(move |state| {
            state.levels[0].kind = Some(own);
            state.levels[1].kind = Some(parent);
        })
    };
    let invalid = finding(&explain(&kinds("domain invalid", "domain threaded")), Cause::InvalidDomain);
    assert!(
        invalid.explanation.contains("because '/a.slice' is the root of a threaded subtree"),
        "{invalid:?}"
    );
    assert!(invalid.explanation.contains("EOPNOTSUPP"), "{invalid:?}");
    let threaded = finding(&explain(&kinds("threaded", "domain threaded")), Cause::Threaded);
    assert!(threaded.explanation.contains("threads of the processes of '/a.slice'"), "{threaded:?}");
    let mut beside_processes = kinds("domain invalid", "domain threaded");
    beside_processes.states[0].levels[1].subtree_control = Some(words(&["memory", "pids", "cpu"]));
    let invalid = finding(&explain(&beside_processes), Cause::InvalidDomain);
    assert!(
        invalid.remediation[0].text.contains("echo '-pids -cpu' > /sys/fs/cgroup/a.slice/"),
        "{invalid:?}"
    );
}

#[test]
fn the_level_that_does_not_enable_a_controller() {
    let mut facts = facts(|_| {});
    assert!(!explain(&facts).holds(Cause::ControllerNotEnabled));
    facts.controller = Some("hugetlb".to_owned());
    let verdict = explain(&facts);
    assert_eq!((verdict.cause, verdict.visible), (Cause::ControllerNotEnabled, false));
    assert_eq!(
        commands(&finding(&verdict, Cause::ControllerNotEnabled)),
        ["echo +hugetlb > /sys/fs/cgroup/cgroup.subtree_control && \
             echo +hugetlb > /sys/fs/cgroup/a.slice/cgroup.subtree_control"]
    );
    facts.states[0].levels[0].controllers = Some(words(&["hugetlb"]));
    assert_eq!(explain(&facts).cause, Cause::Present);
}

#[test]
fn owners() {
    let owners = |parent: u32, own: u32, procs: u32| {
        facts(move |state| {
            state.levels[1].owner_uid = Some(parent);
            state.levels[0].owner_uid = Some(own);
            state.levels[0].procs_uid = Some(procs);
            state.levels[0].subtree_control_uid = Some(procs);
        })
    };
    let of_root = finding(&explain(&owners(1000, 0, 0)), Cause::NotDelegated);
    assert!(
        of_root.explanation.contains("belongs to root, but its parent '/a.slice' to uid 1000"),
        "{of_root:?}"
    );
    let job = "/sys/fs/cgroup/a.slice/job";
    assert_eq!(
        commands(&of_root),
        [format!("chown 1000 {job} {job}/cgroup.procs {job}/cgroup.threads {job}/cgroup.subtree_control")]
    );
    assert!(explain(&owners(0, 1000, 0)).holds(Cause::NotDelegated));
    for (parent, own, procs) in [(0, 0, 0), (0, 1000, 1000), (1000, 1000, 1000), (1000, 100_000, 100_000)] {
        assert!(!explain(&owners(parent, own, procs)).holds(Cause::NotDelegated), "{parent} {own} {procs}");
    }
}

#[test]
fn processes_left_by_a_unit() {
    let mut facts = facts(|state| state.members = vec![member(7, None)]);
    facts.unit = Some(unit("job.service", "active", "running"));
    assert!(!explain(&facts).holds(Cause::LeftOverProcesses));
    facts.unit = Some(Unit { kill_mode: "none".to_owned(), ..unit("job.service", "failed", "failed") });
    let left = finding(&explain(&facts), Cause::LeftOverProcesses);
    assert!(left.explanation.starts_with("job.service is failed (failed), but its cgroup"), "{left:?}");
    assert!(left.explanation.contains("With KillMode=none"), "{left:?}");
    assert_eq!(commands(&left)[0], "echo 1 > /sys/fs/cgroup/a.slice/job/cgroup.kill");
}

#[test]
fn a_limit_set_by_hand() {
    let limited = |pids: Option<u64>, memory: Option<u64>| {
        let mut facts = facts(move |state| {
            state.levels[0].path = "/a.slice/job.service".to_owned();
            state.levels[0].pids = Some(Usage { used: 1, max: pids });
            state.levels[0].memory = Some(Usage { used: 1, max: memory });
        });
        let running = unit("job.service", "active", "running");
        facts.unit = Some(Unit { tasks_max: Some(u64::MAX), memory_max: Some(1_000_000), ..running });
        explain(&facts)
    };
    assert!(!limited(None, Some(999_424)).holds(Cause::DiffersFromUnit), "rounded to a page");
    let by_hand = finding(&limited(Some(7), Some(999_424)), Cause::DiffersFromUnit);
    assert!(by_hand.explanation.contains("on v2 is 7, but job.service has TasksMax=infinity"), "{by_hand:?}");
    assert_eq!(commands(&by_hand), ["systemctl set-property job.service TasksMax=7"]);
    let by_hand = finding(&limited(None, None), Cause::DiffersFromUnit);
    assert_eq!(commands(&by_hand), ["systemctl set-property job.service MemoryMax=infinity"]);
}

#[test]
fn an_empty_cgroup() {
    let mut facts = facts(|_| {});
    assert!(!explain(&facts).holds(Cause::Empty), "it is not known whether it is empty");
    facts.populated.insert((PATH.to_owned(), "v2".to_owned()), false);
    let empty = finding(&explain(&facts), Cause::Empty);
    assert_eq!(commands(&empty), ["rmdir /sys/fs/cgroup/a.slice/job"]);
}

#[test]
fn what_holds_it() {
    let mut facts = facts(|state| {
        state.members = vec![member(7, Some("zombie")), member(8, None)];
        state.children = words(&["x"]);
        state.child_count = 1;
        state.mount_points = words(&["/sys/fs/cgroup/a.slice/job/x"]);
        state.members_in_other_namespaces = 2;
        state.levels[0].subtree_control = Some(words(&["hugetlb", "pids"]));
    });
    assert!(!explain(&facts).holds(Cause::Busy), "nobody asked");
    facts.busy = true;
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, Cause::Busy);
    assert!(verdict.explanation.contains("it has 1 child cgroup and 4 processes and 1 mount"), "{verdict:?}");
    assert!(verdict.explanation.contains("No process can be attached"), "{verdict:?}");
    for part in ["child cgroups on v2: x", "job[7] (uid 0), a zombie", "2 processes in another pid namespace"]
    {
        assert!(verdict.evidence.iter().any(|line| line.contains(part)), "{part}: {verdict:?}");
    }
    assert!(verdict.remediation.iter().any(|remedy| remedy.text.starts_with("umount ")), "{verdict:?}");
    assert!(verdict.remediation.iter().any(|remedy| remedy.text.contains("echo -hugetlb > ")), "{verdict:?}");
}

#[test]
fn nothing_holds_it() {
    let free = explain(&Facts { busy: true, ..facts(|_| {}) });
    assert!(free.cause == Cause::Present && !free.is_held());
}
