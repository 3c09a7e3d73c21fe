//! `doctor` checks everything on one page, whatever is missing, and says what to do.

use std::{
    fs,
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire::{CheckResult, DoctorReport};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    confined,
    daemon::{Daemon, open_folder, program},
    fake::Fake,
    terminal, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("doctor::a_running_daemon_is_fine", running),
        trial("doctor::an_ordinary_user_without_a_daemon_is_told_what_to_do", nobody),
        trial("doctor::an_ordinary_user_learns_that_the_private_socket_is_not_for_it", public),
        trial("doctor::a_stopped_daemon_does_not_stop_it", stopped),
        trial("doctor::without_btf_and_without_proc", surroundings),
        trial("doctor::each_path_of_the_kubelet_has_a_line", kubelet),
        trial("doctor::it_fits_80_columns", columns),
    ]
}

/// The report, whose counts and exit code agree with its checks.
fn report(output: &Output) -> Result<DoctorReport> {
    let report: DoctorReport =
        serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let count = |result| report.checks.iter().filter(|check| check.result == result).count() as u64;
    ensure!(report.failures == count(CheckResult::Fail), "{report:?}");
    ensure!(report.warnings == count(CheckResult::Warn), "{report:?}");
    ensure!(output.status.code() == Some(i32::from(report.failures > 0)), "{output:?}");
    ensure!(output.stderr.is_empty(), "{output:?}");
    for check in &report.checks {
        ensure!(check.next_step.is_some() == (check.result != CheckResult::Ok), "{check:?}");
        ensure!(!check.text.is_empty() && !check.text.contains('\n'), "{check:?}");
    }
    Ok(report)
}

/// The results of a topic. The kubelet's depend on what other tests run.
fn of<'a>(report: &'a DoctorReport, topic: &str) -> Vec<(CheckResult, &'a str)> {
    let checks = report.checks.iter().filter(|check| check.topic == topic);
    checks.map(|check| (check.result, check.text.as_str())).collect()
}

/// The result of a topic with one check.
fn one(report: &DoctorReport, topic: &str) -> Result<CheckResult> {
    let found = of(report, topic);
    let [(result, _)] = found.as_slice() else { anyhow::bail!("{topic}: {found:?}") };
    Ok(*result)
}

fn running() -> Outcome {
    let daemon = Daemon::start()?;
    let found = report(&daemon.run(&["--json", "doctor"])?)?;
    for check in found.checks.iter().filter(|check| check.topic != "kubelet") {
        // The machine's own service, and other tests' inotify watches, may be a warning.
        ensure!(check.result != CheckResult::Fail, "{check:?}");
    }
    for topic in ["kernel", "btf", "tracepoints", "privileges", "daemon", "history", "losses"] {
        ensure!(one(&found, topic)? == CheckResult::Ok, "{topic}: {found:?}");
    }
    ensure!(of(&found, "sockets").len() == 2, "{found:?}");
    ensure!(of(&found, "daemon")[0].1.contains(&format!("pid {}", daemon.pid())), "{found:?}");
    ensure!(of(&found, "history")[0].1.starts_with("in memory"), "{found:?}");
    Ok(())
}

fn nobody() -> Outcome {
    let folder = confined::folder()?;
    let run = |json: &[&str]| {
        let mut command = confined::client(folder.path(), &[]);
        command.arg("--runtime-dir").arg(folder.path()).args(json).arg("doctor").output()
    };
    let found = report(&run(&["--json"])?)?;
    for (topic, result) in [
        ("kernel", CheckResult::Ok),
        ("btf", CheckResult::Ok),
        ("tracepoints", CheckResult::Ok),
        ("privileges", CheckResult::Warn),
        ("daemon", CheckResult::Fail),
    ] {
        ensure!(one(&found, topic)? == result, "{topic}: {found:?}");
    }
    ensure!(of(&found, "privileges")[0].1.contains("CAP_BPF, CAP_PERFMON"), "{found:?}");
    ensure!(of(&found, "sockets").iter().all(|(result, _)| *result == CheckResult::Fail), "{found:?}");
    ensure!(!of(&found, "hierarchies").is_empty() && !of(&found, "kubelet").is_empty(), "{found:?}");
    ensure!(of(&found, "history").is_empty() && of(&found, "losses").is_empty(), "{found:?}");
    let text = run(&[])?;
    let text = String::from_utf8(text.stdout)?;
    ensure!(text.contains("next: sudo systemctl start cgtrace, or: sudo cgtrace daemon"), "{text}");
    Ok(())
}

fn public() -> Outcome {
    let daemon = Daemon::start()?;
    let folder = confined::folder()?;
    let mut command = confined::client(folder.path(), &[]);
    command.arg("--runtime-dir").arg(daemon.runtime_dir().path()).args(["--json", "doctor"]);
    let found = report(&command.output()?)?;
    let sockets: Vec<CheckResult> = of(&found, "sockets").into_iter().map(|(result, _)| result).collect();
    ensure!(sockets == [CheckResult::Warn, CheckResult::Ok], "{found:?}");
    ensure!(one(&found, "daemon")? == CheckResult::Ok && one(&found, "privileges")? == CheckResult::Ok);
    Ok(())
}

fn stopped() -> Outcome {
    let daemon = Daemon::start()?;
    daemon.signal(Signal::STOP)?;
    let found = report(&daemon.run(&["--json", "--connect-timeout", "100ms", "doctor"])?);
    daemon.signal(Signal::CONT)?;
    let found = found?;
    ensure!(one(&found, "daemon")? == CheckResult::Fail, "{found:?}");
    let (_, text) = of(&found, "daemon")[0];
    ensure!(text.contains("no reply") && text.contains(&daemon.pid().to_string()), "{text}");
    Ok(())
}

/// The program in a private mount namespace, after a script has changed its mounts.
fn after(script: &str) -> Result<Output> {
    let folder = open_folder()?;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(format!("{script} || exit 99; exec \"$@\"")).arg("sh").arg(program().get_program());
    command.env("CGTRACE_LOG", "warn").arg("--runtime-dir").arg(folder.path());
    command.args(["--json", "doctor"]).output().context("failed to run unshare")
}

fn surroundings() -> Outcome {
    let found = report(&after("mount -t tmpfs none /sys/kernel/btf")?)?;
    ensure!(one(&found, "btf")? == CheckResult::Fail, "{found:?}");
    ensure!(one(&found, "tracepoints")? == CheckResult::Warn, "{found:?}");
    let found = report(&after("mount -t tmpfs none /proc")?)?;
    ensure!(of(&found, "hierarchies")[0].0 == CheckResult::Fail, "{found:?}");
    ensure!(of(&found, "hierarchies")[0].1.contains("/proc/self/cgroup"), "{found:?}");
    let found = report(&after("umount -l -a -t cgroup,cgroup2")?)?;
    ensure!(of(&found, "hierarchies")[0].0 == CheckResult::Fail, "{found:?}");
    Ok(())
}

fn kubelet() -> Outcome {
    let cgroup = Cgroup::new(any(), "doctorkubelet")?;
    let there = cgroup.join("there");
    fs::create_dir(&there)?;
    let there = cgroup.name_of(&there);
    let gone = format!("{}/gone.slice", cgroup.name());
    let flags = [
        format!("--kubelet-cgroups={there}"),
        format!("--runtime-cgroups={gone}"),
        "--cgroups-per-qos=false".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let kubelet = Fake::start("kubelet", "1", &flags)?;
    let pid = kubelet.pid().to_string();
    let without = open_folder()?;
    let mut alone = program();
    alone.arg("--runtime-dir").arg(without.path()).args(["--json", "doctor", "--pid", &pid]);
    let daemon = Daemon::start()?;
    // A daemon is not needed for it.
    for output in [daemon.run(&["--json", "doctor", "--pid", &pid])?, alone.output()?] {
        let found = report(&output)?;
        let lines = of(&found, "kubelet");
        ensure!(lines.len() == 2, "{lines:?}");
        let line = |path: &str| lines.iter().find(|(_, text)| text.starts_with(&format!("{path}: ")));
        line(&there).with_context(|| format!("{lines:?}"))?;
        let (result, text) = line(&gone).with_context(|| format!("{lines:?}"))?;
        ensure!(*result == CheckResult::Fail && !text.contains("never"), "{text}");
    }
    Ok(())
}

fn columns() -> Outcome {
    let folder = open_folder()?;
    let mut command = program();
    command.env("NO_COLOR", "1").arg("--runtime-dir").arg(folder.path()).arg("doctor");
    let text = String::from_utf8(terminal::shows(&mut command)?)?.replace("\r\n", "\n");
    // Kubelets of other tests have paths and commands that are not broken.
    let own = text.lines().take_while(|line| !line.contains(" kubelet "));
    for line in own {
        ensure!(line.chars().count() <= usize::from(terminal::COLUMNS), "too long: {line}\n{text}");
    }
    ensure!(text.contains("\nok    kernel ") || text.starts_with("ok    kernel "), "{text}");
    ensure!(text.trim_end().ends_with("failures") || text.contains(" failures, "), "{text}");
    Ok(())
}
