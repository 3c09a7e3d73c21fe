//! What every verdict holds to, whatever the facts.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace_client::wire::{Event, HierarchyResult, Instance, PathResult, Task};
use cgtrace_why::{
    facts::{Controllers, Facts, Limit, Mounted, Observer, Unit},
    report::{Finding, Verdict},
    rules::{causes, explain, wanted},
};
use proptest::{prelude::*, strategy::ValueTree as _};

use crate::fixtures::{
    Holds as _, absent, answer, at, moved, observer, present, process, removed, task, unit,
};

const NAMES: [&str; 15] = [
    "/",
    "",
    "kubelet",
    "/system.slice/kubelet.service",
    "/system.slice/kublet.service",
    "/systemd/system.slice/kubelet.service",
    "/systemd/system.slice",
    "/sys/fs/cgroup/memory/system.slice/kubelet.service",
    "/../../system.slice/kubelet.service",
    "/kubepods",
    "/kubepods/burstable/pod1d7d7a3c-4a2e-4d5a-a2c3-6f2d4a0a7a55",
    "/kubepods-burstable.slice",
    "/user.slice/user-0.slice/session-4.scope",
    "/a\u{1b}[31m'\u{202e}\\\n/b",
    "/system.slice:docker:x",
];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => "(/|\\PC|\n|\u{1b}){0,12}"]
}

fn row() -> impl Strategy<Value = HierarchyResult> {
    let hierarchy =
        prop::sample::select(vec!["v2", "name=systemd", "memory", "cpu,cpuacct", "cpuset", "\u{7}"]);
    (hierarchy, 0..4, any::<bool>(), any_task()).prop_map(|(hierarchy, kind, scanned, by)| {
        let mut row = match kind {
            0 => absent(hierarchy),
            1 => removed(hierarchy),
            _ => present(hierarchy),
        };
        if let Some(instance) = &mut row.current {
            instance.created_by = Some(by);
        }
        if kind == 3 {
            row.previous = vec![Instance::default()];
        }
        HierarchyResult { scanned, ..row }
    })
}

fn any_answer() -> impl Strategy<Value = PathResult> {
    (name(), prop::collection::vec(row(), 0..4)).prop_map(|(name, rows)| answer(&name, rows))
}

fn any_task() -> impl Strategy<Value = Task> {
    let comm = prop::sample::select(vec!["kubelet", "systemd", "\u{1b}]0;x"]);
    (1_u32..4, comm).prop_map(|(pid, comm)| task(pid, comm))
}

fn any_event() -> impl Strategy<Value = Event> {
    (any_task(), name(), name(), any_task(), 0_u64..400)
        .prop_map(|(who, from, to, by, when)| moved(who, &from, &to, by, when))
}

fn any_unit() -> impl Strategy<Value = Unit> {
    let load = prop::sample::select(vec!["loaded", "not-found", "masked", "\u{1b}"]);
    let active = prop::sample::select(vec!["active", "inactive", "failed", "activating", "\u{1b}"]);
    (load, active, name(), any::<Option<bool>>()).prop_map(|(load, active, control_group, accounting)| Unit {
        load_state: load.to_owned(),
        control_group,
        memory_accounting: accounting,
        ..unit("kubelet.service", active, "exited")
    })
}

fn any_observer() -> impl Strategy<Value = Observer> {
    let flags =
        vec!["--docker-only", "--raw_cgroup_prefix_whitelist=/x", "--kubelet-cgroups=/systemd/system.slice"];
    let mounted =
        name().prop_map(|root| Mounted { hierarchy: "v2".to_owned(), point: "/p".to_owned(), root });
    (
        name(),
        0_u64..400,
        prop::collection::vec(prop::sample::select(flags), 0..3),
        prop::option::of(name()),
        prop::option::of(prop::collection::vec(mounted, 0..3)),
        prop::option::of(any::<u64>()),
    )
        .prop_map(|(cgroup, started, flags, namespace_root, mounts, watches)| {
            let inotify = vec![Limit { name: "fs.inotify.max_user_watches", used: watches, max: 100 }];
            let who = observer(process(1, "kubelet", &cgroup, started), &flags);
            Observer { namespace_root, mounts, inotify, ..who }
        })
}

fn facts() -> impl Strategy<Value = Facts> {
    let on = prop::sample::select(vec![None, Some("memory"), Some("unified")]);
    let processes = prop::collection::vec(name(), 0..3);
    let known = (
        prop::collection::vec(row(), 0..5),
        prop::collection::vec(any_answer(), 0..6),
        prop::option::of(processes),
        prop::collection::vec(any_event(), 0..5),
    );
    let switches = (any::<bool>(), any::<Option<bool>>());
    (name(), on, known, prop::option::of(any_unit()), prop::option::of(any_observer()), switches).prop_map(
        |(name, on, (rows, others, processes, moves), unit, observer, (off, populated))| {
            let populated = rows.iter().filter_map(|row: &HierarchyResult| {
                let (path, hierarchy) = (name.clone(), row.hierarchy.clone());
                populated.map(|populated| ((path, hierarchy), populated))
            });
            let populated = populated.collect();
            let controllers =
                Controllers { here: Vec::new(), root: vec!["cpuset".to_owned(), "memory".to_owned()] };
            let others_ended = moves.iter().map(|_| process(3, "\u{1b}[2J", &name, 120)).collect();
            Facts {
                answer: answer(&name, rows),
                name,
                on: on.map(str::to_owned),
                now: at(300),
                others,
                mounts: Vec::new(),
                populated,
                writable: BTreeMap::new(),
                v2_controllers: off.then_some(controllers),
                ended: others_ended,
                processes: processes
                    .map(|places| places.iter().map(|place| process(2, "kubelet", place, 150)).collect()),
                moves,
                unit,
                observer,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_verdict_holds_to_the_rules(facts in facts()) {
        let verdict = explain(&facts);
        prop_assert!(verdict.present || !verdict.visible);
        prop_assert_eq!(verdict.path, facts.name);
        let Verdict { cause, explanation, evidence, remediation: fix, other_findings: also, .. } = verdict;
        let findings = std::iter::once(Finding { cause, explanation, evidence, remediation: fix }).chain(also);
        let mut causes = Vec::new();
        for finding in findings {
            prop_assert!(!causes.contains(&finding.cause), "{:?} twice", finding.cause);
            causes.push(finding.cause.clone());
            prop_assert!(!finding.explanation.is_empty());
            let said = std::iter::once(&finding.explanation).chain(&finding.evidence);
            for text in said.clone().chain(&finding.remediation) {
                prop_assert!(!text.contains(char::is_control) && !text.contains('\u{202e}'), "{text:?}");
            }
            for text in said {
                let bounded = text.matches("never").count() == text.matches("never since 1970-").count();
                prop_assert!(bounded, "{text}");
            }
        }
    }

    #[test]
    fn a_name_that_exists_is_never_said_to_be_gone(facts in facts()) {
        let verdict = explain(&facts);
        let gone = [
            "similar-path-exists", "path-includes-mount", "started-outside-systemd", "unit-not-started",
            "no-such-process", "removed", "not-observed",
        ];
        if verdict.present {
            prop_assert!(gone.iter().all(|cause| !verdict.holds(cause)), "{verdict:?}");
        }
    }

    #[test]
    fn names_to_look_up_are_others(name in name(), root in name()) {
        let wanted = wanted(&name, &[], Some(&root));
        prop_assert!(wanted.len() <= 17 && !wanted.contains(&name));
    }
}

#[test]
fn every_cause_can_come_first() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = facts();
    let mut first = BTreeSet::new();
    for _ in 0..20_000 {
        let tree = strategy.new_tree(&mut runner).unwrap();
        first.insert(explain(&tree.current()).cause);
    }
    assert_eq!(first, causes().map(str::to_owned).collect());
}

#[test]
fn every_cause_is_in_the_catalogue() {
    let catalogue = include_str!("../../../docs/user/why.md");
    for cause in causes() {
        assert!(
            catalogue.contains(&format!("\n### {cause}\n")),
            "docs/user/why.md has no section on {cause}"
        );
    }
}
