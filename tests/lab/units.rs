//! What cgtrace tells of units is what systemd says of them.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::support::{Outcome, daemon::Daemon, events::Follower, systemd::Boot, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("units::a_service_is_where_systemd_says", a_service_is_where_systemd_says)]
}

fn a_service_is_where_systemd_says() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("service").start()?;
    systemd.unit("idle.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    let name = systemd.name("/system.slice/idle.service");
    let mut follower = Follower::below(&daemon, &name, &["mkdir", "rmdir"])?;
    systemd.run(&["systemctl", "start", "idle.service"])?;
    ensure!(systemd.name(&systemd.show("idle.service", "ControlGroup")?) == name);
    let made = follower.next_of("mkdir")?;
    ensure!(made.path.as_deref() == Some(&*name), "{made:?}");
    let by = made.by.as_ref().context("no maker")?;
    ensure!(by.pid == systemd.init() && by.comm == "systemd", "{made:?}");
    systemd.run(&["systemctl", "stop", "idle.service"])?;
    let removed = follower.next_of("rmdir")?;
    ensure!(removed.id == made.id, "{removed:?}");
    Ok(())
}
