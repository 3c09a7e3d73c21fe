//! The cgroup exists, but the observer does not see it: its flags, start time and inotify limits.

use std::fs;

use anyhow::{Context as _, ensure};
use cgtrace_why::report::{Cause, Report};
use libtest_mimic::Trial;

use super::{ask, finding, line};
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
        trial("why::a_kubelet_with_docker_only", docker_only),
        trial("why::every_path_that_kubelet_looks_up_is_explained", kubelet),
        trial("why::created_by_the_observer_itself", created_by_observer),
        trial("why::created_after_the_observer_had_started", created_after_observer),
        trial("why::out_of_inotify_instances", inotify_limit),
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
    // If the cgroup exists only on v2, another cause comes first.
    let filtered = finding(&verdict, Cause::FilteredByObserver)?;
    ensure!(filtered.explanation.contains("--docker-only"), "{filtered:?}");
    line(&filtered.remediation, &["remove --docker-only"])?;
    let output = daemon.run(&["why", "--kubelet", "--pid", &kubelet.pid().to_string()])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(1) && text.contains("--docker-only"), "{text}");
    ensure!(text.contains(&format!("source: {flag}")), "{text}");
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
    let explained: Vec<(&str, Option<&str>)> =
        reply.verdicts.iter().map(|verdict| (verdict.path.as_str(), verdict.source.as_deref())).collect();
    let expected = [
        (cgroup.name_of(&there), flags[1].to_owned()),
        (flags[3].to_owned(), format!("--runtime-cgroups {}", flags[3])),
        (gone.clone(), format!("systemCgroups: {gone}")),
    ];
    let expected: Vec<(&str, Option<&str>)> =
        expected.iter().map(|(path, source)| (path.as_str(), Some(source.as_str()))).collect();
    ensure!(explained == expected, "{explained:?}");
    ensure!(reply.verdicts[0].present && !reply.verdicts[1].present, "{reply:#?}");
    let observer = reply.observer.context("no observer")?;
    ensure!(
        observer.process.task.pid == kubelet.pid() && observer.arguments.iter().any(|word| word == flags[1])
    );
    // By its name, unless another test's kubelet is running.
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

fn created_by_observer() -> Outcome {
    let cgroup = Cgroup::new("v2", "whycreated")?;
    let (home, created) = (cgroup.join("home"), cgroup.join("created"));
    fs::create_dir(&home)?;
    let daemon = Daemon::start()?;
    let name = cgroup.name_of(&created);
    let put_self = |folder: &std::path::Path| {
        format!("open F, '>', '{}/cgroup.procs' or die; print F $$; close F or die", folder.display())
    };
    let script = format!("{}; mkdir '{}' or die; {}", put_self(&home), created.display(), put_self(&created));
    let flag = format!("--kubelet-cgroups={name}");
    let kubelet = Fake::start("kubelet", &script, &[&flag])?;
    let verdict = ask(&daemon, &name, Some(kubelet.pid()))?;
    let text = finding(&verdict, Cause::CreatedByObserver)?.explanation;
    ensure!(text.contains(&format!("kubelet[{}]", kubelet.pid())) && text.contains("created"), "{text}");
    ensure!(text.contains(&format!("It left '{}'", cgroup.name_of(&home))), "{text}");
    Ok(())
}

fn created_after_observer() -> Outcome {
    let cgroup = Cgroup::new("v2", "whyafter")?;
    let late = cgroup.join("late");
    let name = cgroup.name_of(&late);
    let daemon = Daemon::start()?;
    let flag = format!("--runtime-cgroups={name}");
    let kubelet = Fake::start("kubelet", "1", &[&flag])?;
    fs::create_dir(&late)?;
    let verdict = ask(&daemon, &name, Some(kubelet.pid()))?;
    let text = finding(&verdict, Cause::CreatedAfterObserver)?.explanation;
    ensure!(text.contains("after kubelet[") && text.contains("only once, at its start"), "{text}");
    ensure!(!verdict.visible, "{verdict:#?}");
    Ok(())
}

fn inotify_limit() -> Outcome {
    const UID: u32 = 64_602;
    let number = match std::env::consts::ARCH {
        "x86_64" => 294,
        "aarch64" | "riscv64" => 26,
        other => return Err(skip(format!("the number of inotify_init1 is not known for {other}"))),
    };
    let limit: u64 = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances")?.trim().parse()?;
    if limit > 900 {
        return Err(skip(format!(
            "fs.inotify.max_user_instances={limit} exceeds a process's number of descriptors"
        )));
    }
    let cgroup = Cgroup::new("v2", "whywatch")?;
    let daemon = Daemon::start()?;
    let script = format!("while (syscall({number}, 0) >= 0) {{}}");
    let agent = Fake::start_in(&[], "cgtrace-agent", &script, &[], Some(UID))?;
    let verdict = ask(&daemon, &cgroup.name(), Some(agent.pid()))?;
    let reached = finding(&verdict, Cause::InotifyLimit)?;
    line(&reached.evidence, &[&format!("of fs.inotify.max_user_instances={limit} in use")])?;
    line(&reached.remediation, &["sysctl -w fs.inotify.max_user_instances="])?;
    ensure!(!verdict.visible, "{verdict:#?}");
    Ok(())
}

fn no_such_observer() -> Outcome {
    let daemon = Daemon::start()?;
    // Greater than every pid (PID_MAX_LIMIT is 2^22).
    let output = daemon.run(&["why", "/", "--pid", "8388608"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    // The path is explained even without the observer.
    let output = daemon.run(&["why", "/", "--process", "cgtrace-missing"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(0), "{text}");
    ensure!(text.contains("note: no process named cgtrace-missing is running"), "{text}");
    Ok(())
}
