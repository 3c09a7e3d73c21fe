//! The packaged service with a changed or broken configuration, and clients in the sandboxes of other units.

use std::fs;

use anyhow::ensure;
use libtest_mimic::Trial;

use super::service::{client, drop_in, installed, main_pid, starts, until};
use crate::support::{Outcome, systemd::Systemd, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("service::a_broken_configuration_fails_the_reload_and_not_the_daemon", broken_reload),
        trial("service::a_start_with_a_broken_configuration_is_not_retried", broken_start),
        trial("service::metrics_need_the_packaged_drop_in", metrics),
        trial("service::it_logs_where_it_listens", listening),
        trial("service::a_client_without_unix_sockets_names_the_packaged_drop_in", no_unix_sockets),
        trial("service::a_unit_that_waits_survives_restarts_of_the_daemon", waits_on),
    ]
}

const CONFIGURATION: &str = "/etc/cgtrace/cgtrace.toml";

const METRICS: &str = include_str!("../../deploy/systemd/drop-ins/metrics.conf");

const CLIENT: &str = include_str!("../../deploy/systemd/drop-ins/client.conf");

fn configure(systemd: &Systemd, text: &str) -> Outcome {
    Ok(fs::write(systemd.path(CONFIGURATION), text)?)
}

fn journal(systemd: &Systemd, unit: &str) -> anyhow::Result<String> {
    systemd.run(&["journalctl", "--sync"])?;
    systemd.run(&["journalctl", "--no-pager", "-o", "cat", "-u", unit])
}

fn broken_reload() -> Outcome {
    let systemd = installed("broken-reload")?;
    starts(&systemd)?;
    let before = main_pid(&systemd)?;
    let reload = || -> anyhow::Result<bool> {
        Ok(systemd.output(&["systemctl", "reload", "cgtrace.service"])?.status.success())
    };
    for (text, word) in [
        ("max-paths-per-lookp = 77\n", "did you mean `max-paths-per-lookup`"),
        ("log = 'nope'\n", "`nope` is neither a level nor a module"),
    ] {
        configure(&systemd, text)?;
        ensure!(!reload()?, "the reload of {text:?} succeeded");
        let journal = journal(&systemd, "cgtrace.service")?;
        ensure!(journal.contains(word), "{journal}");
        ensure!(systemd.show("cgtrace.service", "ActiveState")? == "active");
        ensure!(main_pid(&systemd)? == before, "the daemon was restarted");
        client(&systemd)?.status()?;
    }
    // Without a file, the defaults apply.
    fs::remove_file(systemd.path(CONFIGURATION))?;
    ensure!(reload()?, "the reload without a file failed: {}", journal(&systemd, "cgtrace.service")?);
    configure(&systemd, "max-paths-per-lookup = 77\n")?;
    ensure!(reload()?, "the reload of a valid file failed: {}", journal(&systemd, "cgtrace.service")?);
    until(&systemd, "the new limit", || Ok(client(&systemd)?.status()?.limits.max_paths_per_lookup == 77))?;
    ensure!(main_pid(&systemd)? == before, "the daemon was restarted");
    Ok(())
}

fn broken_start() -> Outcome {
    let systemd = installed("broken-start")?;
    configure(&systemd, "max-connections = 'many'\n")?;
    ensure!(!systemd.output(&["systemctl", "start", "cgtrace.service"])?.status.success());
    ensure!(systemd.show("cgtrace.service", "ExecMainStatus")? == "2");
    ensure!(systemd.show("cgtrace.service", "NRestarts")? == "0");
    let journal = journal(&systemd, "cgtrace.service")?;
    ensure!(journal.contains("line 1") && journal.contains("max-connections"), "{journal}");
    // It was refused before it listened or loaded anything.
    ensure!(!journal.contains("listening"), "{journal}");
    Ok(())
}

/// The sandbox has no network, so that a reload with `metrics-listen` is refused with the remedy.
fn metrics() -> Outcome {
    let systemd = installed("metrics")?;
    starts(&systemd)?;
    let before = main_pid(&systemd)?;
    configure(&systemd, "metrics-listen = '127.0.0.1:9469'\n")?;
    let drop_in_path = "/usr/share/cgtrace/metrics.conf";
    let checked = systemd.run(&["cgtrace", "config", "check"])?;
    ensure!(checked.contains(drop_in_path) && checked.contains("address family not supported"), "{checked}");
    ensure!(!systemd.output(&["systemctl", "reload", "cgtrace.service"])?.status.success());
    let log = journal(&systemd, "cgtrace.service")?;
    ensure!(log.contains("Address family not supported") && log.contains(drop_in_path), "{log}");
    ensure!(main_pid(&systemd)? == before && systemd.show("cgtrace.service", "ActiveState")? == "active");
    drop_in(&systemd, METRICS)?;
    let restarted = systemd.output(&["systemctl", "restart", "cgtrace.service"])?;
    ensure!(restarted.status.success(), "{}", journal(&systemd, "cgtrace.service")?);
    // The port is the container's; without PrivateNetwork= of nspawn it is the host's, too.
    let listening = systemd.run(&["cat", "/proc/net/tcp"])?;
    ensure!(listening.contains("0100007F:24FD"), "{listening}");
    systemd.run(&["systemctl", "reload", "cgtrace.service"])?;
    Ok(())
}

fn listening() -> Outcome {
    let systemd = installed("listening")?;
    starts(&systemd)?;
    let journal = journal(&systemd, "cgtrace.service")?;
    let line = journal.lines().find(|line| line.contains("listening"));
    ensure!(
        line.is_some_and(|line| ["/run/cgtrace/public/io.cgtrace", "/run/cgtrace/private/io.cgtrace"]
            .iter()
            .all(|socket| line.contains(socket))),
        "{journal}"
    );
    Ok(())
}

fn no_unix_sockets() -> Outcome {
    let systemd = installed("no-unix")?;
    starts(&systemd)?;
    systemd.unit(
        "asks.service",
        "[Service]\nType=oneshot\nRestrictAddressFamilies=AF_INET\n\
         ExecStart=/usr/bin/cgtrace --daemon-only exists -q /\n",
    )?;
    ensure!(!systemd.output(&["systemctl", "start", "asks.service"])?.status.success());
    ensure!(systemd.show("asks.service", "ExecMainStatus")? == "3");
    let log = journal(&systemd, "asks.service")?;
    for word in
        ["Address family not supported", "RestrictAddressFamilies=AF_UNIX", "/usr/share/cgtrace/client.conf"]
    {
        ensure!(log.contains(word), "no {word}: {log}");
    }
    let folder = systemd.path("/etc/systemd/system/asks.service.d");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("cgtrace.conf"), CLIENT)?;
    systemd.run(&["systemctl", "daemon-reload"])?;
    let started = systemd.output(&["systemctl", "start", "asks.service"])?;
    ensure!(started.status.success(), "{}", journal(&systemd, "asks.service")?);
    Ok(())
}

/// Both ways to wait: in the unit itself and by the template.
fn waits_on() -> Outcome {
    let systemd = installed("waits-on")?;
    starts(&systemd)?;
    let name = systemd.name("/system.slice/later.service");
    systemd.unit("later.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    let wait = format!("/usr/bin/cgtrace --daemon-only wait --quiet --timeout 100s --hierarchy v2 {name}");
    systemd.unit(
        "monitor.service",
        &format!("[Service]\nType=exec\nExecStartPre={wait}\nExecStart=/bin/sleep 1000\n"),
    )?;
    let template = systemd.run(&["systemd-escape", "--path", "--template=cgtrace-wait@.service", &name])?;
    systemd.run(&["systemctl", "start", "--no-block", "monitor.service", &template])?;
    for signal in ["TERM", "KILL", "TERM"] {
        until(&systemd, "both wait", || Ok(client(&systemd)?.status()?.waiters == 2))?;
        let before = main_pid(&systemd)?;
        if signal == "KILL" {
            systemd.run(&["systemctl", "kill", "--signal=KILL", "cgtrace.service"])?;
        } else {
            systemd.run(&["systemctl", "restart", "cgtrace.service"])?;
        }
        until(&systemd, "the next daemon", || {
            let pid = main_pid(&systemd)?;
            Ok(pid != 0 && pid != before && systemd.show("cgtrace.service", "ActiveState")? == "active")
        })?;
    }
    for unit in ["monitor.service", &template] {
        ensure!(systemd.show(unit, "ActiveState")? == "activating", "{unit}: {}", journal(&systemd, unit)?);
    }
    systemd.run(&["systemctl", "start", "later.service"])?;
    until(&systemd, "the unit starts", || Ok(systemd.show("monitor.service", "ActiveState")? == "active"))?;
    until(&systemd, "the template succeeds", || Ok(systemd.show(&template, "ActiveState")? == "inactive"))?;
    ensure!(systemd.show(&template, "Result")? == "success");
    Ok(())
}
