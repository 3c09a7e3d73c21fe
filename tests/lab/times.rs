//! cgtrace's times against systemd's.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    clock::{boot_ns, monotonic_ns},
    daemon::Daemon,
    events::Follower,
    systemd::Boot,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![trial("times::systemd_timestamps_bracket_the_events", timestamps_bracket)]
}

/// systemd takes a unit's condition time before it creates the cgroup (`unit_start`), the main process's
/// start time after the fork (`service_set_main_pid`), the active time of Type=exec after the exec, before
/// which the process moved itself, and the inactive time before it removes the cgroup (`unit_notify`).
fn timestamps_bracket() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("times").start()?;
    systemd.unit("idle.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    let name = systemd.name("/system.slice/idle.service");
    let mut events = Follower::below(&daemon, &name, &["mkdir", "attach", "rmdir"])?;
    // systemd uses CLOCK_MONOTONIC, cgtrace CLOCK_BOOTTIME; they differ by the time the machine was
    // suspended.
    let suspended = boot_ns().saturating_sub(monotonic_ns()) / 1000;
    // The two clocks above are not read at the same instant.
    let slack = 1000;

    for _ in 0..5 {
        systemd.run(&["systemctl", "start", "idle.service"])?;
        let condition = systemd.time("idle.service", "ConditionTimestamp")?;
        let started = systemd.time("idle.service", "ExecMainStartTimestamp")?;
        let active = systemd.time("idle.service", "ActiveEnterTimestamp")?;
        systemd.run(&["systemctl", "stop", "idle.service"])?;
        let inactive = systemd.time("idle.service", "InactiveEnterTimestamp")?;
        let stopped = monotonic_ns() / 1000;

        let (mut created, mut attached, mut removed) = (None, None, None);
        while removed.is_none() {
            let event = events.next()?;
            let at = event.boot_ns / 1000 - suspended;
            match event.kind.as_str() {
                "mkdir" => created = Some(at),
                "attach" => attached = Some(at),
                _ => removed = Some(at),
            }
        }
        let created = created.context("no mkdir")?;
        let attached = attached.context("no attach")?;
        let removed = removed.context("no rmdir")?;
        ensure!(
            condition <= created + slack && created <= started + slack,
            "created {created} us, not within {condition}..{started}"
        );
        ensure!(created <= attached && attached <= active + slack, "attached {attached} us, active {active}");
        ensure!(
            inactive <= removed + slack && removed <= stopped + slack,
            "removed {removed} us, not within {inactive}..{stopped}"
        );
    }
    Ok(())
}
