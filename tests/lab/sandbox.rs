//! `cgtrace why` within the sandboxes of the packaged units: it reads the state of a unit over D-Bus and, without
//! a bus, its files.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::{Cause, Report, Verdict};
use libtest_mimic::Trial;

use super::service::{installed, starts};
use crate::support::{Outcome, systemd::Systemd, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::it_works_in_the_sandbox_of_the_service", || works("cgtrace.service", "service")),
        trial("why::it_works_in_the_sandbox_of_the_template", || works("cgtrace-wait@.service", "template")),
    ]
}

const PATH: &str = "/system.slice/kubelet.service";

const REPORT: &str = "/run/why.json";

/// A unit with the sandbox and the user of a packaged one. It runs `why` once.
fn sandboxed(systemd: &Systemd, packaged: &str) -> Outcome {
    let text = fs::read_to_string(systemd.path("/usr/lib/systemd/system").join(packaged))?;
    systemd.unit("asks.service", &text)?;
    let folder = systemd.path("/etc/systemd/system/asks.service.d");
    fs::create_dir_all(&folder)?;
    let unit = format!(
        "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nSockets=\nExecReload=\nExecStart=\n\
         ExecStart=/usr/bin/cgtrace --daemon-only --json why {PATH}\n\
         SuccessExitStatus=1\nStandardOutput=truncate:{REPORT}\nStandardError=journal\n"
    );
    fs::write(folder.join("why.conf"), unit)?;
    systemd.run(&["systemctl", "daemon-reload"])?;
    Ok(())
}

/// The report of a run in the sandbox. If systemd does not reply in time on a busy machine, a note says so; then
/// it is asked again.
fn report(systemd: &Systemd) -> Result<(Report, Verdict)> {
    for _ in 0..50 {
        let started = systemd.output(&["systemctl", "start", "asks.service"])?;
        let journal = systemd.run(&["journalctl", "--no-pager", "-u", "asks.service"])?;
        ensure!(started.status.success(), "{journal}");
        let report: Report = serde_json::from_slice(&fs::read(systemd.path(REPORT))?).context(journal)?;
        if !report.notes.iter().any(|note| note.contains("in time") || note.contains("no reply within")) {
            let verdict = report.verdicts.first().cloned().context("no verdict")?;
            return Ok((report, verdict));
        }
    }
    anyhow::bail!("systemd never replied in time")
}

fn works(packaged: &str, what: &'static str) -> Outcome {
    let systemd = installed(what)?;
    systemd.unit("kubelet.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    sandboxed(&systemd, packaged)?;
    starts(&systemd)?;
    let lines =
        |verdict: &Verdict| [vec![verdict.explanation.clone()], verdict.evidence.clone()].concat().join("\n");

    // Over D-Bus.
    let (report_by_bus, by_bus) = report(&systemd)?;
    ensure!(by_bus.cause == Cause::UnitNotStarted, "{by_bus:?}");
    ensure!(lines(&by_bus).contains("inactive"), "{by_bus:?}");
    ensure!(report_by_bus.notes.is_empty(), "{:?}", report_by_bus.notes);

    // Without a bus only the unit's files remain, because systemd's own socket is for root.
    systemd.run(&["systemctl", "stop", "dbus.socket", "dbus.service"])?;
    let (report_by_files, by_files) = report(&systemd)?;
    ensure!(
        report_by_files.notes.iter().any(|note| note.contains("its unit files were read")),
        "{:?}",
        report_by_files.notes
    );
    ensure!(lines(&by_files).contains("kubelet.service"), "{by_files:?}");
    println!("{packaged}: {report_by_bus:?}\n{report_by_files:?}");
    Ok(())
}
