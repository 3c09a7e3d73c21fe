//! The cgroups of units in cgtrace match those that systemd reports.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::mount,
    daemon::Daemon,
    events::Follower,
    systemd::{Boot, Systemd, View},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("units::a_service_is_in_its_control_group_on_v2", || {
            a_service_is_in_its_control_group(View::V2)
        }),
        trial("units::a_service_is_in_its_control_group_on_hybrid", || {
            a_service_is_in_its_control_group(View::Hybrid)
        }),
        trial("units::a_service_is_in_its_control_group_on_v1", || {
            a_service_is_in_its_control_group(View::V1)
        }),
        trial("units::every_unit_has_its_cgroup", every_unit_has_its_cgroup),
        trial("units::a_container_runtimes_scope_is_in_nested_slices", a_scope_is_in_nested_slices),
        trial("units::a_nested_slice", a_nested_slice),
    ]
}

/// The hierarchies on which systemd creates cgroups for units.
fn hierarchies(view: View) -> &'static [&'static str] {
    match view {
        View::V2 => &["v2"],
        View::Hybrid => &["v2", "name=systemd"],
        View::V1 => &["name=systemd"],
    }
}

fn a_service_is_in_its_control_group(view: View) -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("service").view(view).start()?;
    systemd.unit("idle.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    let name = systemd.name("/system.slice/idle.service");
    let mut events = Follower::below(&daemon, &name, &["mkdir", "attach", "rmdir"])?;
    systemd.run(&["systemctl", "start", "idle.service"])?;
    ensure!(systemd.name(&systemd.show("idle.service", "ControlGroup")?) == name);
    let main = systemd.show("idle.service", "MainPID")?;

    let mut ids = BTreeMap::new();
    for hierarchy in hierarchies(view) {
        let row = daemon.row(&name, hierarchy)?;
        let instance = row.current.with_context(|| format!("not on {hierarchy}"))?;
        let by = instance.created_by.as_ref().context("no creator")?;
        ensure!(by.pid == systemd.init() && by.comm == "systemd", "{instance:?}");
        ids.insert((*hierarchy).to_owned(), instance.id);
    }
    // It exists on no other hierarchy: the container cannot write to any other.
    let everywhere = daemon
        .client()?
        .lookup_with(&wire::Lookup { paths: vec![name.clone()], ..wire::Lookup::default() })?;
    let results = &everywhere.results.first().context("no result")?.hierarchies;
    let present: Vec<&str> =
        results.iter().filter(|result| result.present).map(|result| result.hierarchy.as_str()).collect();
    ensure!(present.len() == ids.len() && present.iter().all(|on| ids.contains_key(*on)), "{present:?}");
    // Its only process is the unit's main process; systemd reports the pid in the container's namespace.
    for result in results.iter().filter(|result| result.present) {
        let path = mount(&result.hierarchy)?.join(name.trim_start_matches('/'));
        let members = std::fs::read_to_string(path.join("cgroup.procs"))?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", members.trim()))?;
        ensure!(status.lines().any(|line| line == "Name:\tsleep"), "{members}: {status}");
        ensure!(
            status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with(&format!("\t{main}")))
        );
    }

    systemd.run(&["systemctl", "stop", "idle.service"])?;
    let (mut created, mut attached, mut removed) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    while removed.len() < ids.len() {
        let event = events.next()?;
        let on = event.hierarchy.clone().context("no hierarchy")?;
        let id = event.id.context("no id")?;
        match event.kind.as_str() {
            "mkdir" => ensure!(created.insert(on, id).is_none(), "created twice: {event:?}"),
            "attach" => _ = attached.insert(on),
            _ => ensure!(removed.insert(on, id).is_none(), "removed twice: {event:?}"),
        }
    }
    ensure!(created == ids && removed == ids, "created {created:?}, removed {removed:?}, expected {ids:?}");
    ensure!(attached == ids.into_keys().collect(), "attached on {attached:?}");
    ensure!(systemd.show("idle.service", "ControlGroup")?.is_empty());
    Ok(())
}

/// The cgroups of all units, as systemd reports them.
fn of_units(systemd: &Systemd) -> anyhow::Result<BTreeSet<String>> {
    let shown = systemd.run(&["systemctl", "show", "--value", "-p", "ControlGroup", "*"])?;
    Ok(shown.lines().filter(|group| !group.is_empty()).map(|group| systemd.name(group)).collect())
}

fn every_unit_has_its_cgroup() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("every").start()?;
    systemd.run(&["systemctl", "start", "user@0.service"])?;
    let reported = of_units(&systemd)?;
    ensure!(reported.len() > 10, "systemd reports only {reported:?}");
    let list =
        wire::List { patterns: Some(vec![systemd.name("/")]), hierarchy: Some("v2".to_owned()), at: None };
    let mut found = BTreeSet::new();
    for cgroup in daemon.client()?.list(&list)? {
        let cgroup = cgroup?;
        ensure!(cgroup.created_at.is_some(), "no creation time: {cgroup:?}");
        found.extend(cgroup.path);
    }
    // A delegated unit creates cgroups below its own. A unit may have stopped since the query.
    let delegated = systemd.name("/user.slice/user-0.slice/user@0.service/");
    let more: Vec<&String> =
        found.difference(&reported).filter(|name| !name.starts_with(&delegated)).collect();
    ensure!(more.is_empty(), "not reported by systemd: {more:?}");
    let reported = &reported & &of_units(&systemd)?;
    // systemd 252 also reports a cgroup that it has not created: for a socket whose programs have all exited.
    let mount = mount("v2")?;
    for missing in reported.difference(&found) {
        ensure!(missing.ends_with(".socket") && !mount.join(&missing[1..]).exists(), "not found: {missing}");
    }
    daemon.verify()
}

fn a_scope_is_in_nested_slices() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("scope").start()?;
    let scope = format!("cri-containerd-{}.scope", "5e".repeat(32));
    let mut events = Follower::below(&daemon, &systemd.name("/"), &["mkdir", "attach", "rmdir"])?;
    let mut run = systemd
        .inside("systemd-run")
        .args(["--quiet", "--scope", "--slice=kubepods-burstable.slice", "--unit", &scope, "sleep", "1000"])
        .spawn()?;
    let inside = format!("/kubepods.slice/kubepods-burstable.slice/{scope}");
    // First the parents, then the scope; then the process is moved into it.
    for path in ["/kubepods.slice", "/kubepods.slice/kubepods-burstable.slice", &inside] {
        let event = events.next_of("mkdir")?;
        ensure!(event.path == Some(systemd.name(path)), "expected {path}, got {event:?}");
        ensure!(event.by.as_ref().is_some_and(|by| by.pid == systemd.init()), "{event:?}");
    }
    let attach = events.next_of("attach")?;
    ensure!(attach.path == Some(systemd.name(&inside)), "{attach:?}");
    let moved = attach.task.as_ref().context("no task")?;
    // systemd-run is moved and then calls exec.
    ensure!(moved.pid == run.id() || moved.ppid == Some(run.id()), "{moved:?}, started as {}", run.id());
    ensure!(systemd.show(&scope, "ControlGroup")? == inside);
    systemd.run(&["systemctl", "stop", &scope])?;
    run.wait()?;
    let removed = events.next_of("rmdir")?;
    ensure!(removed.path == Some(systemd.name(&inside)), "{removed:?}");
    Ok(())
}

fn a_nested_slice() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("slice").start()?;
    let mut events = Follower::below(&daemon, &systemd.name("/"), &["mkdir", "rmdir"])?;
    systemd.run(&["systemctl", "start", "a-b-c.slice"])?;
    for (unit, inside) in [
        ("a.slice", "/a.slice"),
        ("a-b.slice", "/a.slice/a-b.slice"),
        ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
    ] {
        let created = events.next_of("mkdir")?;
        ensure!(created.path == Some(systemd.name(inside)), "{created:?}");
        ensure!(systemd.show(unit, "ControlGroup")? == inside, "{unit}");
    }
    systemd.run(&["systemctl", "stop", "a.slice"])?;
    for inside in ["/a.slice/a-b.slice/a-b-c.slice", "/a.slice/a-b.slice", "/a.slice"] {
        let removed = events.next_of("rmdir")?;
        ensure!(removed.path == Some(systemd.name(inside)), "{removed:?}");
    }
    Ok(())
}
