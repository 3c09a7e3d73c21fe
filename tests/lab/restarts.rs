//! Units that restart repeatedly: every instance is reported, each with its own id.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    daemon::Daemon,
    events::Follower,
    systemd::{Boot, Systemd},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "restarts::a_restart_loop_is_reported_instance_by_instance",
            a_restart_loop_is_reported_instance_by_instance,
        ),
        trial("restarts::each_restart_is_a_new_instance", each_restart_is_a_new_instance),
    ]
}

/// The instances of a path up to a mark; checks that they follow each other.
fn instances(events: &mut Follower, systemd: &Systemd, name: &str) -> anyhow::Result<Vec<u64>> {
    systemd.run(&["systemctl", "start", "mark.slice"])?;
    let mut instances: Vec<u64> = Vec::new();
    let mut current = None;
    for event in events.until_made(&systemd.name("/mark.slice"))? {
        if event.path.as_deref() != Some(name) {
            continue;
        }
        let id = event.id.context("no id")?;
        if event.kind == "mkdir" {
            ensure!(current.is_none(), "created while it was present: {event:?}");
            current = Some(id);
            instances.push(id);
        } else {
            ensure!(current.take() == Some(id), "the wrong instance was removed: {event:?}");
        }
    }
    ensure!(
        instances.iter().collect::<BTreeSet<_>>().len() == instances.len(),
        "a repeated id: {instances:?}"
    );
    Ok(instances)
}

/// systemd itself reports how often it restarted the unit before it gave up.
fn a_restart_loop_is_reported_instance_by_instance() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("storm").start()?;
    systemd.unit(
        "crash.service",
        "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=50\n\
         [Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=0\n",
    )?;
    let name = systemd.name("/system.slice/crash.service");
    let mut events = Follower::below(&daemon, &systemd.name("/"), &["mkdir", "rmdir"])?;
    systemd.run(&["systemctl", "start", "--no-block", "crash.service"])?;
    let mut left = 600;
    while systemd.show("crash.service", "ActiveState")? != "failed" {
        left -= 1;
        ensure!(left > 0, "systemd does not give up");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let restarts: usize = systemd.show("crash.service", "NRestarts")?.parse()?;
    ensure!(restarts > 10, "no restart loop: {restarts}");
    let instances = instances(&mut events, &systemd, &name)?;
    println!("{restarts} restarts, {} instances", instances.len());
    ensure!(
        instances.len() == 50,
        "50 starts, {restarts} restarts by systemd's count, {} instances",
        instances.len()
    );
    let row = daemon.row(&name, "v2")?;
    ensure!(
        !row.present && row.previous.first().map(|instance| instance.id) == instances.last().copied(),
        "{row:?}"
    );
    Ok(())
}

fn each_restart_is_a_new_instance() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("restart").start()?;
    systemd.unit(
        "idle.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=exec\nExecStart=/bin/sleep 1000\n",
    )?;
    let name = systemd.name("/system.slice/idle.service");
    let mut events = Follower::below(&daemon, &systemd.name("/"), &["mkdir", "rmdir"])?;
    systemd.run(&["systemctl", "start", "idle.service"])?;
    for _ in 0..10 {
        systemd.run(&["systemctl", "restart", "idle.service"])?;
    }
    let instances = instances(&mut events, &systemd, &name)?;
    ensure!(instances.len() == 11, "{instances:?}");
    let row = daemon.row(&name, "v2")?;
    let newest: Vec<u64> = row.current.iter().chain(&row.previous).map(|instance| instance.id).collect();
    ensure!(newest.iter().eq(instances.iter().rev().take(newest.len())), "{newest:?} {instances:?}");
    ensure!(newest.len() > 5, "{newest:?}");
    Ok(())
}
