//! `cgtrace why` in the sandboxes of the packaged units: it reads the state of a unit over D-Bus and, without a
//! reply, from files.

use std::{fs, io::Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_why::report::{Cause, Report, Verdict};
use libtest_mimic::Trial;

use super::service::{installed, starts};
use crate::support::{Outcome, systemd::Systemd, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::it_works_in_the_sandbox_of_the_service", in_service),
        trial("why::it_works_in_the_sandbox_of_the_template", in_template),
    ]
}

const SERVICE: &str = include_str!("../../deploy/systemd/cgtrace.service");

const TEMPLATE: &str = include_str!("../../deploy/systemd/cgtrace-wait@.service");

/// What makes a unit a daemon or a wait; everything else of its `[Service]` section is its sandbox.
const NOT_SANDBOX: [&str; 12] = [
    "Type",
    "NotifyAccess",
    "ExecStart",
    "ExecReload",
    "WatchdogSec",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "TimeoutAbortSec",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "Sockets",
];

const PATH: &str = "/system.slice/kubelet.service";

const REPORT: &str = "/run/why.json";

/// Installs `asks.service`, which runs `why` in the sandbox of a packaged unit.
fn sandboxed(systemd: &Systemd, packaged: &str) -> Outcome {
    let (_, rest) = packaged.split_once("\n[Service]\n").context("no [Service]")?;
    let section = rest.split_once("\n[").map_or(rest, |(section, _)| section);
    let sandbox: Vec<&str> = section
        .lines()
        .filter(|line| line.split_once('=').is_some_and(|(key, _)| !NOT_SANDBOX.contains(&key)))
        .collect();
    ensure!(sandbox.contains(&"ProtectSystem=strict") && sandbox.len() > 20, "{sandbox:?}");
    systemd.unit("kubelet.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    systemd.unit(
        "asks.service",
        &format!(
            "[Service]\nType=oneshot\nExecStart=/usr/bin/cgtrace --daemon-only --json why {PATH}\n\
             SuccessExitStatus=1\nStandardOutput=truncate:{REPORT}\n{}\n",
            sandbox.join("\n")
        ),
    )
}

/// The report of a run in the sandbox. On a busy machine systemd may reply too late, as a note then says; it is
/// asked again.
fn report(systemd: &Systemd) -> Result<(Report, Verdict)> {
    for _ in 0..50 {
        let started = systemd.output(&["systemctl", "start", "asks.service"])?;
        let journal = systemd.run(&["journalctl", "--no-pager", "-u", "asks.service"])?;
        ensure!(started.status.success(), "{started:?}: {journal}");
        let report: Report = serde_json::from_slice(&fs::read(systemd.path(REPORT))?).context(journal)?;
        if !report.notes.iter().any(|note| note.contains("in time") || note.contains("no reply within")) {
            let verdict = report.verdicts.first().cloned().context("no verdict")?;
            return Ok((report, verdict));
        }
    }
    bail!("systemd never replied in time")
}

/// The unit's state comes from its files if `note` is given, which explains why, else from systemd.
fn not_started(systemd: &Systemd, note: Option<&str>) -> Outcome {
    let (report, verdict) = report(systemd)?;
    ensure!(verdict.cause == Cause::UnitNotStarted, "{report:?}");
    let state = if note.is_some() {
        "kubelet.service: loaded, not running (no invocation in /run/systemd/units), static, from \
         /etc/systemd/system/kubelet.service"
    } else {
        "kubelet.service: loaded, inactive (dead), static, from /etc/systemd/system/kubelet.service"
    };
    ensure!(verdict.evidence.iter().any(|line| line == state), "{report:?}");
    let start = "systemctl start kubelet.service";
    ensure!(verdict.remediation.iter().any(|remedy| remedy.text == start), "{report:?}");
    let unasked = report.notes.iter().find(|note| note.contains("could not be queried"));
    match (note, unasked) {
        (None, None) => Ok(()),
        (Some(note), Some(found)) if found.contains(note) && found.contains("its files were read") => Ok(()),
        (expected, _) => bail!("expected {expected:?} in {:?}", report.notes),
    }
}

/// Without a bus, whose private socket is for root alone.
fn by_files(systemd: &Systemd) -> Outcome {
    systemd.run(&["systemctl", "stop", "dbus.socket", "dbus.service"])?;
    not_started(systemd, Some("system_bus_socket"))?;
    // Its files also show that it runs. (This systemd's units are in a cgroup of the test, not in that path.)
    systemd.run(&["systemctl", "start", "kubelet.service"])?;
    let (report, verdict) = report(systemd)?;
    ensure!(verdict.findings().all(|finding| finding.cause != Cause::UnitNotStarted), "{report:?}");
    Ok(())
}

fn in_service() -> Outcome {
    let systemd = installed("sandbox")?;
    sandboxed(&systemd, SERVICE)?;
    starts(&systemd)?;
    not_started(&systemd, None)?;
    by_files(&systemd)
}

fn in_template() -> Outcome {
    let systemd = installed("wait-sandbox")?;
    sandboxed(&systemd, TEMPLATE)?;
    starts(&systemd)?;
    // The bus refuses users that it cannot look up, such as dynamic ones on a machine without nss-systemd.
    not_started(&systemd, Some("refuses such users"))?;
    // DynamicUser= takes a user of the unit's name, if there is one.
    let mut users = fs::File::options().append(true).open(systemd.path("/etc/passwd"))?;
    users.write_all(b"asks:x:64000:65534::/:/usr/sbin/nologin\n")?;
    not_started(&systemd, None)?;
    by_files(&systemd)
}
