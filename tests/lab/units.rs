//! What cgtrace tells of units is what systemd says of them.

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
        trial("units::a_service_is_where_systemd_says_on_v2", || a_service_is_where_systemd_says(View::V2)),
        trial("units::a_service_is_where_systemd_says_on_hybrid", || {
            a_service_is_where_systemd_says(View::Hybrid)
        }),
        trial("units::a_service_is_where_systemd_says_on_v1", || a_service_is_where_systemd_says(View::V1)),
        trial("units::every_unit_has_its_cgroup", every_unit_has_its_cgroup),
        trial("units::a_container_runtimes_scope_stands_in_nested_slices", a_scope_stands_in_nested_slices),
        trial("units::a_slice_of_its_own", a_slice_of_its_own),
    ]
}

/// The hierarchies that systemd keeps its units on.
fn hierarchies(view: View) -> &'static [&'static str] {
    match view {
        View::V2 => &["v2"],
        View::Hybrid => &["v2", "name=systemd"],
        View::V1 => &["name=systemd"],
    }
}

fn a_service_is_where_systemd_says(view: View) -> Outcome {
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
    // It is nowhere else: the container has no other hierarchy to write to.
    let everywhere = daemon
        .client()?
        .lookup_with(&wire::Lookup { paths: vec![name.clone()], ..wire::Lookup::default() })?;
    let rows = &everywhere.results.first().context("no answer")?.hierarchies;
    let present: Vec<&str> =
        rows.iter().filter(|row| row.present).map(|row| row.hierarchy.as_str()).collect();
    ensure!(present.len() == ids.len() && present.iter().all(|on| ids.contains_key(*on)), "{present:?}");
    // Its one process is the unit's main process: pids are those of the container's namespace there.
    for row in rows.iter().filter(|row| row.present) {
        let path = mount(&row.hierarchy)?.join(name.trim_start_matches('/'));
        let members = std::fs::read_to_string(path.join("cgroup.procs"))?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", members.trim()))?;
        ensure!(status.lines().any(|line| line == "Name:\tsleep"), "{members}: {status}");
        ensure!(
            status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with(&format!("\t{main}")))
        );
    }

    systemd.run(&["systemctl", "stop", "idle.service"])?;
    let (mut made, mut attached, mut removed) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
    while removed.len() < ids.len() {
        let event = events.next()?;
        let on = event.hierarchy.clone().context("no hierarchy")?;
        let id = event.id.context("no id")?;
        match event.kind.as_str() {
            "mkdir" => ensure!(made.insert(on, id).is_none(), "made twice: {event:?}"),
            "attach" => _ = attached.insert(on),
            _ => ensure!(removed.insert(on, id).is_none(), "removed twice: {event:?}"),
        }
    }
    ensure!(made == ids && removed == ids, "made {made:?}, removed {removed:?}, was {ids:?}");
    ensure!(attached == ids.into_keys().collect(), "attached on {attached:?}");
    ensure!(systemd.show("idle.service", "ControlGroup")?.is_empty());
    Ok(())
}

/// The cgroups of all units, as systemd says.
fn of_units(systemd: &Systemd) -> anyhow::Result<BTreeSet<String>> {
    let shown = systemd.run(&["systemctl", "show", "--value", "-p", "ControlGroup", "*"])?;
    Ok(shown.lines().filter(|group| !group.is_empty()).map(|group| systemd.name(group)).collect())
}

fn every_unit_has_its_cgroup() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("every").start()?;
    systemd.run(&["systemctl", "start", "user@0.service"])?;
    let said = of_units(&systemd)?;
    ensure!(said.len() > 10, "systemd has only these: {said:?}");
    let list = wire::List { patterns: Some(vec![systemd.name("/")]), hierarchy: Some("v2".to_owned()) };
    let mut found = BTreeSet::new();
    for cgroup in daemon.client()?.list(&list)? {
        let cgroup = cgroup?;
        ensure!(cgroup.created_at.is_some(), "cgtrace was there before: {cgroup:?}");
        found.extend(cgroup.path);
    }
    // A delegated unit has cgroups of its own below; a unit may have ended since it was asked.
    let delegated = systemd.name("/user.slice/user-0.slice/user@0.service/");
    let more: Vec<&String> = found.difference(&said).filter(|name| !name.starts_with(&delegated)).collect();
    ensure!(more.is_empty(), "no unit's: {more:?}");
    let said = &said & &of_units(&systemd)?;
    // systemd 252 also tells of a cgroup where it made none: for a socket whose programs all have ended.
    let mount = mount("v2")?;
    for less in said.difference(&found) {
        ensure!(less.ends_with(".socket") && !mount.join(&less[1..]).exists(), "not known: {less}");
    }
    daemon.verify()
}

fn a_scope_stands_in_nested_slices() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("scope").start()?;
    let scope = format!("cri-containerd-{}.scope", "5e".repeat(32));
    let mut events = Follower::below(&daemon, &systemd.name("/"), &["mkdir", "attach", "rmdir"])?;
    let mut run = systemd
        .inside("systemd-run")
        .args(["--quiet", "--scope", "--slice=kubepods-burstable.slice", "--unit", &scope, "sleep", "1000"])
        .spawn()?;
    let inside = format!("/kubepods.slice/kubepods-burstable.slice/{scope}");
    // Parents first, then the scope, then the process is put into it.
    for made in ["/kubepods.slice", "/kubepods.slice/kubepods-burstable.slice", &inside] {
        let event = events.next_of("mkdir")?;
        ensure!(event.path == Some(systemd.name(made)), "expected {made}, got {event:?}");
        ensure!(event.by.as_ref().is_some_and(|by| by.pid == systemd.init()), "{event:?}");
    }
    let attach = events.next_of("attach")?;
    ensure!(attach.path == Some(systemd.name(&inside)), "{attach:?}");
    let moved = attach.task.as_ref().context("no task")?;
    // systemd-run is moved and then becomes the program.
    ensure!(moved.pid == run.id() || moved.ppid == Some(run.id()), "{moved:?}, started as {}", run.id());
    ensure!(systemd.show(&scope, "ControlGroup")? == inside);
    systemd.run(&["systemctl", "stop", &scope])?;
    run.wait()?;
    let removed = events.next_of("rmdir")?;
    ensure!(removed.path == Some(systemd.name(&inside)), "{removed:?}");
    Ok(())
}

fn a_slice_of_its_own() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("slice").start()?;
    let mut events = Follower::below(&daemon, &systemd.name("/"), &["mkdir", "rmdir"])?;
    systemd.run(&["systemctl", "start", "a-b-c.slice"])?;
    for (unit, inside) in [
        ("a.slice", "/a.slice"),
        ("a-b.slice", "/a.slice/a-b.slice"),
        ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
    ] {
        let made = events.next_of("mkdir")?;
        ensure!(made.path == Some(systemd.name(inside)), "{made:?}");
        ensure!(systemd.show(unit, "ControlGroup")? == inside, "{unit}");
    }
    systemd.run(&["systemctl", "stop", "a.slice"])?;
    for inside in ["/a.slice/a-b.slice/a-b-c.slice", "/a.slice/a-b.slice", "/a.slice"] {
        let removed = events.next_of("rmdir")?;
        ensure!(removed.path == Some(systemd.name(inside)), "{removed:?}");
    }
    Ok(())
}
