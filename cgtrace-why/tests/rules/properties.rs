//! Properties of every verdict, for arbitrary facts.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace_client::wire::{Event, HierarchyResult, Instance, PathResult, Task};
use cgtrace_why::{
    facts::{CgroupMount, Container, Controllers, Facts, InotifyLimit, Observer, Unit},
    report::Cause,
    rules::{Document, Setting, Settings, candidate_paths, causes, explain},
};
use proptest::{prelude::*, strategy::ValueTree as _};

use crate::{
    fixtures::{Holds as _, absent, at, moved, observer, path_result, present, process, removed, task, unit},
    state::any_state,
};

/// Causes that hold beside `present` only, and follow it.
const AFTER_PRESENT: [Cause; 8] = [
    Cause::Frozen,
    Cause::InvalidDomain,
    Cause::Threaded,
    Cause::NotDelegated,
    Cause::MovedIn,
    Cause::DiffersFromUnit,
    Cause::Empty,
    Cause::StatsFromCri,
];

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

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => "(/|\\PC|\n|\u{1b}){0,12}"]
}

fn any_result() -> impl Strategy<Value = HierarchyResult> {
    let hierarchy =
        prop::sample::select(vec!["v2", "name=systemd", "memory", "cpu,cpuacct", "cpuset", "\u{7}"]);
    (hierarchy, 0..4, any::<bool>(), any_task()).prop_map(|(hierarchy, kind, scanned, by)| {
        let mut result = match kind {
            0 => absent(hierarchy),
            1 => removed(hierarchy),
            _ => present(hierarchy),
        };
        if let Some(instance) = &mut result.current {
            instance.created_by = Some(by);
        }
        if kind == 3 {
            result.previous = vec![Instance::default()];
        }
        HierarchyResult { scanned, ..result }
    })
}

fn any_path_result() -> impl Strategy<Value = PathResult> {
    (any_path(), prop::collection::vec(any_result(), 0..4))
        .prop_map(|(path, results)| path_result(&path, results))
}

fn any_task() -> impl Strategy<Value = Task> {
    let comm = prop::sample::select(vec!["kubelet", "systemd", "\u{1b}]0;x"]);
    (1_u32..4, comm).prop_map(|(pid, comm)| task(pid, comm))
}

fn any_event() -> impl Strategy<Value = Event> {
    (any_task(), any_path(), any_path(), any_task(), 0_u64..400)
        .prop_map(|(task, from, to, by, seconds)| moved(task, &from, &to, by, seconds))
}

fn any_unit() -> impl Strategy<Value = Unit> {
    let load = prop::sample::select(vec!["loaded", "not-found", "masked", "\u{1b}"]);
    let active = prop::sample::select(vec!["active", "inactive", "failed", "activating", "\u{1b}"]);
    (load, active, any_path(), any::<Option<bool>>()).prop_map(|(load, active, control_group, accounting)| {
        Unit {
            load_state: load.to_owned(),
            control_group,
            memory_accounting: accounting,
            tasks_max: Some(9),
            ..unit("kubelet.service", active, "exited")
        }
    })
}

fn any_observer() -> impl Strategy<Value = Observer> {
    let flags = vec![
        "--docker-only",
        "--raw_cgroup_prefix_whitelist=/x",
        "--kubelet-cgroups=/systemd/system.slice",
        "--kubelet-cgroups=\"\u{1b}/x\"",
        "--kubelet-cgroups=/x --cgroup-root=/\u{1b}",
        "--cgroup-root=/x",
        "--feature-gates=PodAndContainerStatsFromCRI=true",
    ];
    let mounted = any_path().prop_map(mounted);
    (
        any_path(),
        0_u64..400,
        prop::collection::vec(prop::sample::select(flags), 0..3),
        prop::option::of(any_path()),
        prop::option::of(prop::collection::vec(mounted, 0..3)),
        prop::option::of(any::<u64>()),
    )
        .prop_map(|(cgroup, started, flags, namespace_root, mounts, watches)| {
            let inotify = vec![InotifyLimit { name: "fs.inotify.max_user_watches", used: watches, max: 100 }];
            let kubelet = observer(process(1, "kubelet", &cgroup, started), &flags);
            Observer { namespace_root, mounts, inotify, ..kubelet }
        })
}

fn mounted(root: String) -> CgroupMount {
    CgroupMount { hierarchy: "v2".to_owned(), point: "/p".to_owned(), root }
}

fn refusing_v1() -> Settings {
    Settings::read(&[], &[Document::parse(None, "failCgroupV1: true").unwrap_or_default()])
}

fn first_setting(observer: &Observer) -> Option<(&'static str, Setting)> {
    observer.settings.observed_paths(true, None).into_iter().find_map(|observed| observed.setting)
}

fn facts() -> impl Strategy<Value = Facts> {
    let hierarchy = prop::sample::select(vec![None, Some("memory"), Some("unified")]);
    let processes = prop::collection::vec(any_path(), 0..3);
    let known = (
        prop::collection::vec(any_result(), 0..5),
        prop::collection::vec(any_path_result(), 0..6),
        prop::option::of(processes),
        prop::collection::vec(any_event(), 0..5),
    );
    let switches = (any::<bool>(), any::<Option<bool>>(), any::<bool>(), any::<bool>());
    let states = prop::collection::vec(any_state(), 0..3);
    let described = (prop::option::of(any_unit()), prop::option::of(any_observer()), states);
    (any_path(), hierarchy, known, described, switches).prop_map(
        |(
            path,
            hierarchy,
            (results, others, processes, moves),
            (unit, observer, states),
            (off, populated, busy, asked),
        )| {
            let populated = results.iter().filter_map(|result: &HierarchyResult| {
                let key = (path.clone(), result.hierarchy.clone());
                populated.map(|populated| (key, populated))
            });
            let populated = populated.collect();
            let controllers =
                Controllers { here: Vec::new(), root: vec!["cpuset".to_owned(), "memory".to_owned()] };
            let mount = |hierarchy: &str| CgroupMount {
                hierarchy: hierarchy.to_owned(),
                point: "/p".to_owned(),
                root: "/".to_owned(),
            };
            let init = task(9, "\u{1b}");
            let exited = moves.iter().map(|_| process(3, "\u{1b}[2J", &path, 120)).collect();
            Facts {
                kubelet: off.then(refusing_v1),
                setting: observer.as_ref().filter(|_| asked).and_then(first_setting),
                relative: None,
                result: path_result(&path, results),
                slice: unit.clone(),
                no_service_manager: off && asked,
                container: busy.then(|| Container { cgroup: path.clone(), init }),
                path,
                hierarchy: hierarchy.map(str::to_owned),
                now: at(300),
                others,
                mounts: if busy { Vec::new() } else { vec![mount("v2"), mount("memory")] },
                populated,
                writable: BTreeMap::new(),
                v2_controllers: off.then_some(controllers),
                exited,
                processes: processes
                    .map(|paths| paths.iter().map(|path| process(2, "kubelet", path, 150)).collect()),
                moves,
                unit,
                observer,
                states,
                freezes: Vec::new(),
                controller: asked.then(|| "hugetlb".to_owned()),
                busy,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_verdict_is_consistent_and_escaped(facts in facts()) {
        let verdict = explain(&facts);
        prop_assert!(verdict.present || !verdict.visible);
        prop_assert_eq!(&verdict.path, &facts.path);
        let mut causes = Vec::new();
        for finding in verdict.findings() {
            prop_assert!(!causes.contains(&finding.cause), "{:?} twice", finding.cause);
            causes.push(finding.cause);
            prop_assert!(!finding.explanation.is_empty());
            let claims = std::iter::once(&finding.explanation).chain(&finding.evidence);
            for text in claims.clone().chain(finding.remediation.iter().map(|remedy| &remedy.text)) {
                prop_assert!(!text.contains(char::is_control) && !text.contains('\u{202e}'), "{text:?}");
            }
            for text in claims {
                prop_assert!(!text.contains("never"), "absence without a bound in time: {text}");
            }
        }
    }

    #[test]
    fn a_path_that_exists_is_not_reported_as_absent(facts in facts()) {
        let verdict = explain(&facts);
        let absent = [
            Cause::SimilarPathExists, Cause::PathIncludesMount, Cause::UnitNotStarted, Cause::NoSuchProcess,
            Cause::NotObserved,
        ];
        if verdict.present {
            prop_assert!(absent.iter().all(|cause| !verdict.holds(*cause)), "{verdict:?}");
        }
    }

    #[test]
    fn candidate_paths_are_bounded_and_differ(path in any_path(), root in any_path()) {
        let candidates = candidate_paths(&path, &[], Some(&root));
        prop_assert!(candidates.len() <= 17 && !candidates.contains(&path));
    }
}

#[test]
fn every_cause_can_come_first() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = facts();
    let (mut first, mut all) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..20_000 {
        let tree = strategy.new_tree(&mut runner).unwrap();
        let verdict = explain(&tree.current());
        first.insert(verdict.cause);
        all.extend(verdict.findings().map(|finding| finding.cause));
    }
    assert_eq!(all, causes().collect());
    first.extend(AFTER_PRESENT);
    assert_eq!(first, all);
}

#[test]
fn every_cause_is_documented() {
    let documentation = include_str!("../../../docs/user/why.md");
    for cause in causes() {
        assert!(
            documentation.contains(&format!("\n### {cause}\n")),
            "docs/user/why.md has no section on {cause}"
        );
    }
}
