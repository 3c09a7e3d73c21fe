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
    // Where it does not come in time, the unit fails and does not start.
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
    // It looks again with each start: the cgroup is gone now.
    systemd.run(&["systemctl", "stop", "monitor.service", "later.service"])?;
    starts_only_after(&systemd, "monitor.service", &name)
}

/// Starts a unit that waits for the cgroup of `later.service`, and then that one.
fn starts_only_after(systemd: &Systemd, unit: &str, name: &str) -> Outcome {
    systemd.run(&["systemctl", "start", "--no-block", unit])?;
    // It waits: the daemon has its question.
    let mut asking = client(systemd)?;
    until(systemd, "somebody waits", || Ok(client(systemd)?.status()?.waiters == 1))?;
    ensure!(matches!(&*systemd.show(unit, "ActiveState")?, "activating" | "inactive"), "it did not wait");
    systemd.run(&["systemctl", "start", "later.service"])?;
    until(systemd, "it starts", || Ok(systemd.show(unit, "ActiveState")? == "active"))?;
    let lookup = wire::Lookup {
        paths: vec![name.to_owned()],
        hierarchy: Some("v2".to_owned()),
        ..wire::Lookup::default()
    };
    let answer = asking.lookup_with(&lookup)?.results.into_iter().next().context("no answer")?;
    let instance =
        answer.hierarchies.into_iter().next().and_then(|row| row.current).context("it is not there")?;
    let created_at = instance.created_at.context("its birth was not seen")?;
    let started: u64 = systemd.show(unit, "ExecMainStartTimestampMonotonic")?.parse()?;
    // Both count from the boot; a machine that sleeps in between makes the second one less.
    ensure!(
        created_at.boot_ns / 1_000 <= started,
        "created_at at {}, started at {started} µs",
        created_at.boot_ns
    );
    Ok(())
}
