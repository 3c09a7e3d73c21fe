//! `show` lists the members of a cgroup and the cgroups of a process, for processes in every state.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::{CgroupMembers, ShowReport};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, mount, unique},
    daemon::Daemon,
    process::{Sleeper, TwoThreads, put},
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("show::a_process_whose_first_thread_has_exited", leader_exited),
        trial("show::a_zombie_is_marked", zombie),
        trial("show::a_threaded_cgroup_has_threads", threaded),
        trial("show::members_in_another_pid_namespace_are_counted", other_pid_namespace),
        trial("show::a_cgroup_namespace_is_reported", cgroup_namespace),
        trial("show::a_cgroup_may_be_named_deleted", named_deleted),
        trial("show::kernel_threads_are_marked", kernel_threads),
    ]
}

fn shown(output: &Output) -> Result<ShowReport> {
    serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The members of a cgroup on one hierarchy.
fn members(daemon: &Daemon, path: &str, hierarchy: &str) -> Result<CgroupMembers> {
    let shown = shown(&daemon.run(&["show", path, "--hierarchy", hierarchy, "--json"])?)?;
    shown.members.into_iter().next().context("no members")
}

fn leader_exited() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "showleader")?;
    let both = TwoThreads::start()?;
    put(cgroup.path(), "cgroup.procs", both.pid())?;
    both.end_first()?;
    let known = members(&daemon, &cgroup.name(), any())?;
    let member = known.members.iter().find(|member| member.task.pid == both.pid());
    let state = member.with_context(|| format!("{known:?}"))?.state.clone();
    ensure!(state.as_deref() == Some("leader-exited"), "{known:?}");
    // v1 shows the first thread in the root cgroup; the process is in the cgroup of its other thread.
    let output = daemon.run(&["show", "--pid", &both.pid().to_string(), "--hierarchy", any(), "--json"])?;
    let shown = shown(&output)?;
    ensure!(shown.results.iter().any(|result| result.path == cgroup.name()), "{shown:?}");
    Ok(())
}

fn zombie() -> Outcome {
    let daemon = Daemon::start()?;
    let mut child = Command::new("true").stdout(Stdio::piped()).spawn()?;
    // Its end of the pipe is closed when it exits; it is a zombie until it is waited for.
    std::io::Read::read_to_end(&mut child.stdout.take().context("no stdout")?, &mut Vec::new())?;
    let stat = format!("/proc/{}/stat", child.id());
    while !fs::read_to_string(&stat)?.contains(") Z ") {
        std::thread::yield_now();
    }
    let output = daemon.run(&["show", "--pid", &child.id().to_string(), "--json"])?;
    let shown = shown(&output)?;
    ensure!(shown.notes.iter().any(|note| note.contains("is a zombie")), "{shown:?}");
    child.wait()?;
    let output = daemon.run(&["show", "--pid", &child.id().to_string()])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    Ok(())
}

fn threaded() -> Outcome {
    let daemon = Daemon::start()?;
    let domain = Cgroup::new("v2", "showthreads")?;
    let inner = domain.join("inner");
    fs::create_dir(&inner)?;
    fs::write(inner.join("cgroup.type"), "threaded")?;
    let both = TwoThreads::start()?;
    put(domain.path(), "cgroup.procs", both.pid())?;
    fs::write(inner.join("cgroup.threads"), both.second().to_string())?;
    let known = members(&daemon, &domain.name_of(&inner), "v2")?;
    let tasks: Vec<(u32, u32)> =
        known.members.iter().map(|member| (member.task.pid, member.task.tid)).collect();
    ensure!(tasks == [(both.pid(), both.second())], "{known:?}");
    let output = daemon.run(&["show", &domain.name_of(&inner), "--hierarchy", "v2"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains(&format!("thread {}", both.second())), "{text}");
    Ok(())
}

fn other_pid_namespace() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "showelsewhere")?;
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    let inner = daemon.command();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(inner.get_program()).args(inner.get_args());
    let output = command.args(["show", &cgroup.name(), "--hierarchy", "v2"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("members: 1 in another pid namespace"), "{text} {:?}", output.stderr);
    Ok(())
}

fn cgroup_namespace() -> Outcome {
    let daemon = Daemon::start()?;
    let inner = daemon.command();
    let within = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command.arg("--cgroup").arg(inner.get_program()).args(inner.get_args()).args(words).output()
    };
    let output = within(&["show", "--pid", &std::process::id().to_string()])?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(3) && text.contains("cgroup namespace"), "{text}");
    let output = within(&["why", "/system.slice/cgtrace-none.service"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("note: this command runs in a cgroup namespace"), "{text}");
    Ok(())
}

fn named_deleted() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::at(&mount("v2")?, &format!("{} (deleted)", unique("shownamed")))?;
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    let output = daemon.run(&["show", "--pid", &sleeper.pid().to_string(), "--hierarchy", "v2", "--json"])?;
    let shown = shown(&output)?;
    ensure!(shown.results.len() == 1 && shown.results[0].path == cgroup.name(), "{shown:?}");
    ensure!(shown.results[0].present, "{shown:?}");
    let mut members = shown.members.iter().flat_map(|known| &known.members);
    ensure!(members.any(|member| member.task.pid == sleeper.pid()), "{shown:?}");
    Ok(())
}

fn kernel_threads() -> Outcome {
    // kthreadd, which is hidden in some containers.
    if fs::read_to_string("/proc/2/comm").unwrap_or_default() != "kthreadd\n" {
        return Err(skip("no kernel threads are visible here"));
    }
    let daemon = Daemon::start()?;
    let known = members(&daemon, "/", any())?;
    let kernel = known.members.iter().filter(|member| member.state.as_deref() == Some("kernel-thread"));
    ensure!(kernel.count() > 0, "{known:?}");
    Ok(())
}
