//! It exists, and somebody does not see it: the observer's flags, start, watches, namespaces and mounts.

use std::fs;

use anyhow::{Context as _, ensure};
use cgtrace_why::report::Report;
use libtest_mimic::Trial;

use super::{ask, holds, line};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount, unique},
    daemon::Daemon,
    fake::Fake,
    process::put,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::a_kubelet_that_looks_at_docker_only", docker_only),
        trial("why::kubelet_is_asked_for_every_name_it_looks_up", kubelet),
        trial("why::made_by_the_asker_itself", made_by_observer),
        trial("why::made_after_the_asker_had_started", after_asker_started),
        trial("why::out_of_inotify_instances", watch_exhausted),
        trial("why::no_such_observer", no_such_observer),
    ]
}

fn docker_only() -> Outcome {
    let cgroup = Cgroup::at(&mount("v2")?, &format!("{}.slice", unique("whydocker")))?;
    let unit = cgroup.join("kubelet.service");
    fs::create_dir(&unit)?;
    let name = cgroup.name_of(&unit);
    let daemon = Daemon::start()?;
    let flag = format!("--kubelet-cgroups={name}");
    let kubelet = Fake::start("kubelet", "1", &["--docker-only", &flag, "--cgroups-per-qos=false"])?;
    put(&unit, "cgroup.procs", kubelet.pid())?;
    let verdict = ask(&daemon, &name, Some(kubelet.pid()))?;
    ensure!(verdict.present && !verdict.visible, "{verdict:#?}");
    let told = if verdict.cause == "filtered-by-observer" {
        (verdict.explanation.clone(), verdict.remediation.clone())
    } else {
        // Where the name is on v2 alone, that comes first.
        let told = holds(&verdict, "filtered-by-observer")?;
        (told.explanation.clone(), told.remediation.clone())
    };
    ensure!(told.0.contains("--docker-only"), "{told:?}");
    line(&told.1, &["take --docker-only away"])?;
    let output = daemon.run(&["why", "--kubelet", "--pid", &kubelet.pid().to_string()])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1) && text.contains("--docker-only"), "{text}");
    ensure!(text.contains(&format!("asked for by {flag}")), "{text}");
    Ok(())
}

fn kubelet() -> Outcome {
    let cgroup = Cgroup::new("v2", "whykubelet")?;
    let there = cgroup.join("there");
    fs::create_dir(&there)?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    let gone = cgroup.name_of(&cgroup.join("gone"));
    fs::write(
        &config,
        format!("kind: KubeletConfiguration\nsystemCgroups: \"{gone}\" # x\ncgroupsPerQOS: false\n"),
    )?;
    let daemon = Daemon::start()?;
    let flags = [
        format!("--config={}", config.display()),
        format!("--kubelet-cgroups={}", cgroup.name_of(&there)),
        "--runtime-cgroups".to_owned(),
        format!("{}/gone.service", cgroup.name()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let kubelet = Fake::start("kubelet", "1", &flags)?;
    let pid = kubelet.pid().to_string();
    let output = daemon.run(&["why", "--kubelet", "--pid", &pid, "--json"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let reply: Report = serde_json::from_slice(&output.stdout)?;
    let asked: Vec<(&str, Option<&str>)> =
        reply.verdicts.iter().map(|verdict| (verdict.path.as_str(), verdict.source.as_deref())).collect();
    let expected = [
        (cgroup.name_of(&there), flags[1].to_owned()),
        (flags[3].to_owned(), format!("--runtime-cgroups {}", flags[3])),
        (gone.clone(), format!("systemCgroups: {gone}")),
    ];
    let expected: Vec<(&str, Option<&str>)> =
        expected.iter().map(|(name, setting)| (name.as_str(), Some(setting.as_str()))).collect();
    ensure!(asked == expected, "{asked:?}");
    ensure!(reply.verdicts[0].present && !reply.verdicts[1].present, "{reply:#?}");
    let observer = reply.observer.context("no observer")?;
    ensure!(
        observer.process.task.pid == kubelet.pid() && observer.arguments.iter().any(|word| word == flags[1])
    );
    // By its name, if no other test's kubelet runs.
    let output = daemon.run(&["why", "--kubelet", "--json"])?;
    if output.status.code() == Some(2) {
        let text = String::from_utf8(output.stderr)?;
        ensure!(text.contains(&format!("pid {}, uid 0", kubelet.pid())), "{text}");
    } else {
        let report: Report = serde_json::from_slice(&output.stdout)?;
        ensure!(report.observer.is_some_and(|observer| observer.process.task.pid == kubelet.pid()));
    }
    Ok(())
}

fn made_by_observer() -> Outcome {
    let cgroup = Cgroup::new("v2", "whymade")?;
    let (home, made) = (cgroup.join("home"), cgroup.join("made"));
    fs::create_dir(&home)?;
    let daemon = Daemon::start()?;
    let name = cgroup.name_of(&made);
    let put_self = |folder: &std::path::Path| {
        format!("open F, '>', '{}/cgroup.procs' or die; print F $$; close F or die", folder.display())
    };
    let script = format!("{}; mkdir '{}' or die; {}", put_self(&home), made.display(), put_self(&made));
    let flag = format!("--kubelet-cgroups={name}");
    let kubelet = Fake::start("kubelet", &script, &[&flag])?;
    let verdict = ask(&daemon, &name, Some(kubelet.pid()))?;
    let told = match verdict.cause.as_str() {
        "created-by-observer" => verdict.explanation.clone(),
        _ => holds(&verdict, "created-by-observer")?.explanation.clone(),
    };
    ensure!(told.contains(&format!("kubelet (pid {}", kubelet.pid())) && told.contains("made"), "{told}");
    ensure!(told.contains(&format!("It left '{}'", cgroup.name_of(&home))), "{told}");
    Ok(())
}

fn after_asker_started() -> Outcome {
    let cgroup = Cgroup::new("v2", "whyafter")?;
    let late = cgroup.join("late");
    let name = cgroup.name_of(&late);
    let daemon = Daemon::start()?;
    let flag = format!("--runtime-cgroups={name}");
    let kubelet = Fake::start("kubelet", "1", &[&flag])?;
    fs::create_dir(&late)?;
    let verdict = ask(&daemon, &name, Some(kubelet.pid()))?;
    let told = match verdict.cause.as_str() {
        "created-after-observer" => verdict.explanation.clone(),
        _ => holds(&verdict, "created-after-observer")?.explanation.clone(),
    };
    ensure!(told.contains("after kubelet (pid") && told.contains("once, at its start"), "{told}");
    ensure!(!verdict.visible, "{verdict:#?}");
    Ok(())
}

fn watch_exhausted() -> Outcome {
    const UID: u32 = 64_602;
    let number = match std::env::consts::ARCH {
        "x86_64" => 294,
        "aarch64" | "riscv64" => 26,
        other => return Err(skip(format!("the number of inotify_init1 is not known on {other}"))),
    };
    let limit: u64 = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances")?.trim().parse()?;
    if limit > 900 {
        return Err(skip(format!(
            "fs.inotify.max_user_instances={limit} is more than a process has descriptors"
        )));
    }
    let cgroup = Cgroup::new("v2", "whywatch")?;
    let daemon = Daemon::start()?;
    let script = format!("while (syscall({number}, 0) >= 0) {{}}");
    let agent = Fake::start_in(&[], "cgtrace-agent", &script, &[], Some(UID))?;
    let verdict = ask(&daemon, &cgroup.name(), Some(agent.pid()))?;
    let told = match verdict.cause.as_str() {
        "inotify-limit" => (verdict.evidence.clone(), verdict.remediation.clone()),
        _ => {
            let told = holds(&verdict, "inotify-limit")?;
            (told.evidence.clone(), told.remediation.clone())
        }
    };
    line(&told.0, &[&format!("of fs.inotify.max_user_instances={limit} are in use")])?;
    line(&told.1, &["sysctl -w fs.inotify.max_user_instances="])?;
    ensure!(!verdict.visible, "{verdict:#?}");
    Ok(())
}

fn no_such_observer() -> Outcome {
    let daemon = Daemon::start()?;
    // Above every pid (PID_MAX_LIMIT is 2^22).
    let output = daemon.run(&["why", "/", "--pid", "8388608"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    // Without the observer the name is explained all the same.
    let output = daemon.run(&["why", "/", "--process", "cgtrace-nobody"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(0), "{text}");
    ensure!(text.contains("note: no process called cgtrace-nobody runs"), "{text}");
    Ok(())
}
