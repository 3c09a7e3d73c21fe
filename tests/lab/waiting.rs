//! Units that wait for a cgroup, started by a real systemd.

use anyhow::{Context as _, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;

use super::service::{client, installed, until};
use crate::support::{Outcome, systemd::Systemd, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("service::a_unit_waits_for_the_cgroup_of_another_before_it_starts", start_pre),
        trial("service::the_template_waits_for_a_cgroup", template),
    ]
}

/// A unit that must start only once the cgroup of another exists.
fn start_pre() -> Outcome {
    let systemd = installed("startpre")?;
    systemd.run(&["systemctl", "start", "cgtrace.service"])?;
    let name = systemd.name("/system.slice/later.service");
    systemd.unit("later.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    let wait = format!("/usr/bin/cgtrace --daemon-only wait --quiet --timeout 100s --hierarchy v2 {name}");
    let unit = format!("[Service]\nType=exec\nExecStartPre={wait}\nExecStart=/bin/sleep 1000\n");
    systemd.unit("monitor.service", &unit)?;
    starts_only_after(&systemd, "monitor.service", &name)?;
    // On a timeout the unit fails and does not start.
    let never = format!(
        "[Service]\nType=exec\nExecStartPre=/usr/bin/cgtrace wait -q --timeout 10ms {name}.never\n\
         ExecStart=/bin/sleep 1000\n"
    );
    systemd.unit("never.service", &never)?;
    ensure!(!systemd.output(&["systemctl", "start", "never.service"])?.status.success());
    ensure!(systemd.show("never.service", "ExecMainStartTimestampMonotonic")? == "0");
    Ok(())
}

fn template() -> Outcome {
    let systemd = installed("template")?;
    systemd.run(&["systemctl", "start", "cgtrace.service"])?;
    let name = systemd.name("/system.slice/later.service");
    let instance = systemd.run(&["systemd-escape", "--path", "--template=cgtrace-wait@.service", &name])?;
    systemd.unit("later.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    let unit = format!(
        "[Unit]\nRequires={instance}\nAfter={instance}\n[Service]\nType=exec\nExecStart=/bin/sleep 1000\n"
    );
    systemd.unit("monitor.service", &unit)?;
    starts_only_after(&systemd, "monitor.service", &name)?;
    ensure!(systemd.show(&instance, "Result")? == "success");
    // It checks at each start: the cgroup is absent now.
    systemd.run(&["systemctl", "stop", "monitor.service", "later.service"])?;
    starts_only_after(&systemd, "monitor.service", &name)
}

/// Starts a unit that waits for the cgroup of `later.service`, and then `later.service`.
fn starts_only_after(systemd: &Systemd, unit: &str, name: &str) -> Outcome {
    systemd.run(&["systemctl", "start", "--no-block", unit])?;
    // It waits: the daemon has a pending wait.
    let mut waiting_client = client(systemd)?;
    until(systemd, "a client waits", || Ok(client(systemd)?.status()?.waiters == 1))?;
    ensure!(matches!(&*systemd.show(unit, "ActiveState")?, "activating" | "inactive"), "it did not wait");
    systemd.run(&["systemctl", "start", "later.service"])?;
    until(systemd, "it starts", || Ok(systemd.show(unit, "ActiveState")? == "active"))?;
    let lookup = wire::Lookup {
        paths: vec![name.to_owned()],
        hierarchy: Some("v2".to_owned()),
        ..wire::Lookup::default()
    };
    let answer = waiting_client.lookup_with(&lookup)?.results.into_iter().next().context("empty reply")?;
    let instance =
        answer.hierarchies.into_iter().next().and_then(|row| row.current).context("it is absent")?;
    let created_at = instance.created_at.context("its creation was not seen")?;
    let started: u64 = systemd.show(unit, "ExecMainStartTimestampMonotonic")?.parse()?;
    // Both count from boot; a suspend between makes the second one smaller.
    ensure!(
        created_at.boot_ns / 1_000 <= started,
        "created at {}, started at {started} µs",
        created_at.boot_ns
    );
    Ok(())
}
