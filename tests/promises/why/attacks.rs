//! A process of another user, as root's observer or under a unit's name: it can neither delay the report nor
//! influence its remediation.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
};

use anyhow::{Result, ensure};
use cgtrace_why::{
    ObserverSelector, Question,
    report::{Cause, Report},
};
use libtest_mimic::Trial;

use super::{ask, first, line};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount, unique},
    daemon::{Daemon, open_folder},
    fake::Fake,
    process::put,
    skip, trial,
};

const UID: u32 = 65_534;
const OTHER: u32 = 65_533;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::a_configuration_must_be_a_small_regular_file", configurations),
        trial("why::a_long_command_line_is_truncated", long_command_line),
        trial("why::a_command_line_of_64_mb_is_truncated", replaced_command_line),
        trial("why::stacked_mounts_do_not_delay_it", stacked_mounts),
        trial("why::duplicated_descriptors_do_not_delay_it", descriptors),
        trial("why::a_process_name_alone_changes_no_remediation", stranger),
        trial("why::flags_of_a_process_are_quoted", quoted),
        trial("why::cgroups_writable_by_others_are_not_suggested", writable),
        trial("why::an_ambiguous_process_name_lists_the_candidates", candidates),
    ]
}

/// For tests in which perl makes system calls by their x86-64 numbers.
fn only_x86_64() -> Outcome {
    match std::env::consts::ARCH {
        "x86_64" => Ok(()),
        other => Err(skip(format!("system call numbers are not known for {other}"))),
    }
}

fn about(daemon: &Daemon, observer: u32) -> Result<Report> {
    let question = Question {
        path: Some(b"/".to_vec()),
        hierarchy: None,
        observer: Some(ObserverSelector::Pid(observer)),
        ..Question::default()
    };
    Ok(cgtrace_why::ask(&mut daemon.client()?, &question)?)
}

fn configurations() -> Outcome {
    let daemon = Daemon::start()?;
    let folder = open_folder()?;
    let at = |name: &str| folder.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)?;
    symlink("/dev/zero", at("device"))?;
    symlink("/proc/self/environ", at("environ"))?;
    symlink("/proc/self/root/etc/passwd", at("magic"))?;
    fs::create_dir(at("folder"))?;
    fs::File::create(at("large"))?.set_len(2 << 20)?;
    for (name, reason) in [
        ("fifo", "a FIFO"),
        ("device", "a device"),
        ("environ", "in procfs"),
        ("magic", "symbolic links"),
        ("folder", "a directory"),
        ("large", "larger than 1 MiB"),
        ("missing", "No such file"),
    ] {
        let flag = format!("--config={}", at(name).display());
        let kubelet = Fake::start_in(&[], "kubelet", "1", &[&flag], Some(UID))?;
        let report = about(&daemon, kubelet.pid())?;
        line(&report.notes, &[name, "was not read", reason])?;
    }
    Ok(())
}

fn long_command_line() -> Outcome {
    let daemon = Daemon::start()?;
    let long = "x".repeat(100_000);
    for flags in [vec![long.as_str(); 12], vec!["x"; 5_000]] {
        let process = Fake::start_in(&[], "cgtrace-wordy", "1", &flags, Some(UID))?;
        let report = about(&daemon, process.pid())?;
        line(&report.notes, &["truncated at 128 KiB or 4,096 arguments"])?;
        let words = report.observer.map(|observer| observer.arguments).unwrap_or_default();
        let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
        ensure!(words.len() <= 4_096 && bytes <= (128 << 10) + 1, "{} words, {bytes} bytes", words.len());
    }
    Ok(())
}

fn replaced_command_line() -> Outcome {
    only_x86_64()?;
    let daemon = Daemon::start()?;
    // PR_SET_MM (35) with PR_SET_MM_MAP (14): changes only the address of the arguments.
    let script = "our $line = 'a' x ((64 << 20) - 1) . chr 0; my $at = unpack 'Q', pack 'p', $line; \
                  open my $stat, '<', '/proc/self/stat'; my @f = split / /, (split /\\) /, <$stat>)[1]; \
                  my $map = pack 'Q12 L2', @f[23, 24, 42, 43, 44], syscall(12, 0), $f[25], $at, $at + (64 << 20), \
                  @f[47, 48], 0, 0, 0xffffffff; syscall(157, 35, 14, $map, length $map, 0) == 0 or die \"$!\"";
    let process = Fake::start_in(&[], "cgtrace-mapped", script, &[], Some(UID))?;
    let report = about(&daemon, process.pid())?;
    line(&report.notes, &["truncated at 128 KiB or 4,096 arguments"])?;
    let words = report.observer.map(|observer| observer.arguments).unwrap_or_default();
    ensure!(words.len() == 1 && words[0].len() == 128 << 10, "{} words", words.len());
    Ok(())
}

fn stacked_mounts() -> Outcome {
    only_x86_64()?;
    let daemon = Daemon::start()?;
    let folder = open_folder()?;
    let script = "my ($point, $none) = (\"$ARGV[0]\", 'none'); \
                  for (1..1000) { syscall(165, $point, $point, $none, 4096, 0) == 0 or die \"$!\" }";
    let process = Fake::start_in(
        &["unshare", "-Urm"],
        "cgtrace-stacker",
        script,
        &[&folder.path().display().to_string()],
        Some(UID),
    )?;
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", process.pid()))?;
    ensure!(table.lines().count() > 1_000, "{} mounts", table.lines().count());
    let report = about(&daemon, process.pid())?;
    ensure!(!report.notes.iter().any(|note| note.contains("mount table")), "{:?}", report.notes);
    Ok(())
}

fn descriptors() -> Outcome {
    only_x86_64()?;
    let daemon = Daemon::start()?;
    let script = "my $one = syscall(294, 0); for (1..4500) { syscall(32, $one) >= 0 or die \"$!\" }";
    let more = ["sh", "-c", "ulimit -n 5000 && exec \"$@\"", "sh"];
    let process = Fake::start_in(&more, "cgtrace-duper", script, &[], Some(UID))?;
    let report = about(&daemon, process.pid())?;
    let mut findings = report.verdicts.iter().flat_map(|verdict| &verdict.other_findings);
    ensure!(findings.all(|finding| finding.cause != Cause::InotifyLimit), "{report:#?}");
    Ok(())
}

fn stranger() -> Outcome {
    let daemon = Daemon::start()?;
    let leaf = format!("{}$(reboot) \u{1b}[2J'", unique("whyevil"));
    let cgroup = Cgroup::at(&mount("v2")?, &leaf)?;
    let process = Fake::start_in(&[], "cgtrace-evil", "1", &[], Some(UID))?;
    put(cgroup.path(), "cgroup.procs", process.pid())?;
    let verdict = ask(&daemon, "/system.slice/cgtrace-evil.service", None)?;
    first(&verdict, Cause::NoSuchProcess)?;
    ensure!(
        verdict.other_findings.iter().all(|finding| finding.cause != Cause::StartedOutsideSystemd),
        "{verdict:#?}"
    );
    line(
        &verdict.evidence,
        &[&format!("[{}] (uid {UID}", process.pid()), "is not known to belong to the unit"],
    )?;
    line(&verdict.evidence, &["$'/", "$(reboot) \\x1b[2J\\''"])?;
    for remedy in verdict.findings().flat_map(|finding| finding.remediation) {
        let line = &remedy.text;
        ensure!(!line.contains("reboot") && !line.contains(&process.pid().to_string()), "{line}");
    }
    Ok(())
}

fn quoted() -> Outcome {
    const PATH: &str = "/cgtrace-test-none$(reboot) `id`\u{1b}[2J";
    const SHOWN: &str = "/cgtrace-test-none$(reboot) `id`\\x1b[2J";
    let daemon = Daemon::start()?;
    let flag = format!("--kubelet-cgroups={PATH}");
    let kubelet = Fake::start_in(&[], "kubelet", "1", &[&flag, "--cgroups-per-qos=false"], Some(UID))?;
    let output = daemon.run(&["why", "--kubelet", "--pid", &kubelet.pid().to_string()])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.contains('\u{1b}'), "{text:?}");
    let count = |part: &str| text.matches(part).count();
    let in_quotes = count(&format!("$'{SHOWN}'")) + count(&format!("$'--kubelet-cgroups={SHOWN}'"));
    ensure!(in_quotes > 2 && count("reboot") == in_quotes, "{text}");
    Ok(())
}

fn writable() -> Outcome {
    let slice = Cgroup::at(&mount("v2")?, &format!("{}.slice", unique("whywritable")))?;
    let daemon = Daemon::start()?;
    let unit = slice.join("cgtrace-kubelet.service");
    fs::create_dir(&unit)?;
    let wrong = slice.name_of(&unit).replace("kubelet.service", "kubelte.service");
    let suggests = || -> Result<bool> {
        let verdict = ask(&daemon, &wrong, None)?;
        first(&verdict, Cause::SimilarPathExists)?;
        let suggests = verdict.remediation.iter().any(|line| line.text.starts_with("use "));
        if !suggests {
            line(&verdict.evidence, &["is not suggested", "can write to it on v2"])?;
        }
        Ok(suggests)
    };
    ensure!(suggests()?, "root's cgroup is not suggested");
    chown(&unit, Some(UID), None)?;
    ensure!(!suggests()?, "another user's cgroup is suggested");
    chown(&unit, Some(0), None)?;
    // A user who can write to its cgroup.procs can move processes into it.
    let procs = unit.join("cgroup.procs");
    fs::set_permissions(&procs, fs::Permissions::from_mode(0o646))?;
    ensure!(!suggests()?, "a world-writable cgroup is suggested");
    fs::set_permissions(&procs, fs::Permissions::from_mode(0o644))?;
    // The owner of the parent directory can replace it.
    chown(slice.path(), Some(UID), None)?;
    ensure!(!suggests()?, "a cgroup below another user's is suggested");
    Ok(())
}

fn candidates() -> Outcome {
    let daemon = Daemon::start()?;
    let arguments = ["why", "/", "--process", "cgtrace-twins"];
    let twins = [UID, OTHER].map(|uid| (uid, Fake::start_in(&[], "cgtrace-twins", "1", &[], Some(uid))));
    let output = daemon.run(&arguments)?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2), "{text}");
    for (uid, twin) in &twins {
        let twin = twin.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        ensure!(text.contains(&format!("pid {}, uid {uid}, /", twin.pid())), "{text}");
    }
    // A single process of another user is not selected either, but root's is.
    let [(_, first), (_, second)] = twins;
    drop(second);
    let output = daemon.run(&arguments)?;
    ensure!(output.status.code() == Some(2), "{output:?}");
    let root = Fake::start("cgtrace-twins", "1", &[])?;
    let output = daemon.run(&arguments)?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains(&format!("observer cgtrace-twins[{}]", root.pid())), "{text}");
    drop(first);
    Ok(())
}
