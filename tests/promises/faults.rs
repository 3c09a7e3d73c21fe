//! Failures around the daemon: it reports them, and recovers as soon as possible.

use std::{
    fs,
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{CgroupState, wire};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, any_v1_first, mount},
    daemon::{Daemon, open_folder, program},
    events::Follower,
    process::{Sleeper, put},
    raw::Raw,
    skip, trial,
    verify::is_of_test,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults::out_of_descriptors", out_of_descriptors),
        trial("faults::more_siblings_than_descriptors", many_siblings),
        trial("faults::out_of_memory_in_its_own_cgroup", out_of_memory),
        trial("faults::no_thread_can_be_started", no_thread),
        trial("faults::a_reused_pid", pid_reuse),
        trial("faults::a_boot_clock_in_a_time_namespace", time_namespace),
    ]
}

/// Existing connections still work; new ones get an error until descriptors are available again.
fn out_of_descriptors() -> Outcome {
    const LIMIT: usize = 128;
    let enough = enough_to_start()?;
    ensure!(enough < LIMIT, "the start alone needs {enough} descriptors");
    let folder = open_folder()?;
    let mut within = Command::new("prlimit");
    within.arg(format!("--nofile={LIMIT}:{LIMIT}")).arg(env!("CARGO_BIN_EXE_cgtrace"));
    within.arg("--runtime-dir").arg(folder.path()).arg("daemon").env("CGTRACE_LOG", "error");
    let mut daemon = Daemon::spawn_by(&mut within, folder)?;
    daemon.wait_ready()?;
    let cgroup = Cgroup::new(any(), "descriptors")?;
    let mut connected = daemon.client()?;
    ensure!(connected.exists(&cgroup.name())?);
    // More than it can hold: each is accepted, and either served or refused with the reason.
    let public = daemon.public_socket();
    let mut refused = 0;
    let mut crowd = Vec::new();
    for number in 0..2 * LIMIT {
        let stream = if number % 2 == 0 { daemon.stream()? } else { UnixStream::connect(&public)? };
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut raw = Raw::new(stream);
        let _ = raw.send(&serde_json::json!({"method": "org.varlink.service.GetInfo"}));
        let reply = raw.receive()?;
        refused += u32::from(reply["error"] == "io.cgtrace.LimitExceeded");
        crowd.push(raw);
    }
    ensure!(refused > 0, "{LIMIT} descriptors are enough for {} connections", 2 * LIMIT);
    let inner = cgroup.join("inner");
    fs::create_dir(&inner)?;
    ensure!(connected.exists(&cgroup.name_of(&inner))?, "wrong reply without free descriptors");
    // It cannot open a cgroupfs now: it may report that, but no differences.
    if let Ok(verified) = connected.verify() {
        ensure!(!verified.differences.iter().any(is_of_test), "{verified:?}");
    }
    drop(crowd);
    let start = Instant::now();
    while !daemon.client()?.exists(&cgroup.name_of(&inner)).unwrap_or(false) {
        ensure!(start.elapsed() < Duration::from_secs(20), "no new connection is served");
        thread::sleep(Duration::from_millis(10));
    }
    daemon.verify()
}

/// On v1 every descendant is read, with a bounded number of open cgroups.
fn many_siblings() -> Outcome {
    const LIMIT: usize = 512;
    let cgroup = Cgroup::new("pids", "siblings")?;
    let mut last = cgroup.path().to_owned();
    for number in 0..700 {
        last = cgroup.join(format!("{number}/inner"));
        fs::create_dir_all(&last)?;
    }
    let sleeper = Sleeper::start()?;
    put(&last, "cgroup.procs", sleeper.pid())?;
    let folder = open_folder()?;
    let mut within = Command::new("prlimit");
    within.arg(format!("--nofile={LIMIT}:{LIMIT}")).arg(env!("CARGO_BIN_EXE_cgtrace"));
    within.arg("--runtime-dir").arg(folder.path()).arg("daemon").env("CGTRACE_LOG", "error");
    let mut daemon = Daemon::spawn_by(&mut within, folder)?;
    daemon.wait_ready()?;
    let wait = wire::Wait {
        path: cgroup.name(),
        state: CgroupState::Populated,
        hierarchy: Some("pids".to_owned()),
        timeout_ms: Some(10_000),
    };
    ensure!(daemon.client()?.wait_with(&wait)?.reached, "reported as not populated");
    daemon.verify()
}

/// With too few descriptors the start fails with that reason at any point; returns the smallest number that
/// suffices.
///
/// It depends on the machine's hierarchies and CPUs.
fn enough_to_start() -> Result<usize> {
    for (refused, few) in (8..512).step_by(3).enumerate() {
        let output = Command::new("prlimit")
            .arg(format!("--nofile={few}:{few}"))
            .args([env!("CARGO_BIN_EXE_cgtrace"), "exists", "/", "--socket", "/nonexistent/io.cgtrace"])
            .output()?;
        if output.status.success() {
            ensure!(refused > 2, "it started with {few} descriptors: nothing was tested");
            return Ok(few);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(3), "{few}: {output:?}");
        // With enough to start and too few to scan, the log contains the reason why the index is not ready.
        let reasons = ["raise the limit on open files", "index not ready"];
        ensure!(reasons.iter().any(|words| stderr.contains(words)), "{few}: {stderr}");
    }
    anyhow::bail!("it does not start with 511 descriptors either")
}

/// A cgroup with that memory limit, and its hierarchy.
fn limited(to: &str) -> Result<(Cgroup, &'static str)> {
    if mount("memory").is_ok() {
        let cgroup = Cgroup::new("memory", "memory")?;
        fs::write(cgroup.join("memory.limit_in_bytes"), to).context("failed to limit the memory")?;
        return Ok((cgroup, "memory"));
    }
    // On v2 the root must enable the controller for its children.
    fs::write(mount("v2")?.join("cgroup.subtree_control"), "+memory")
        .map_err(|error| skip(format!("no memory controller here, neither on v1 nor on v2: {error}")))?;
    let cgroup = Cgroup::new("v2", "memory")?;
    fs::write(cgroup.join("memory.max"), to).context("failed to limit the memory")?;
    Ok((cgroup, "v2"))
}

/// The kernel kills it or refuses the rings; neither prevents the next start.
fn out_of_memory() -> Outcome {
    // The two rings alone are larger.
    let (cgroup, hierarchy) = limited("4M")?;
    let folder = open_folder()?;
    let enter = format!("echo $$ > '{}' && exec \"$@\"", cgroup.join("cgroup.procs").display());
    let output = Command::new("sh")
        .args(["-c", &enter, "sh", env!("CARGO_BIN_EXE_cgtrace"), "--runtime-dir"])
        .arg(folder.path())
        .arg("daemon")
        .output()?;
    let killed = output.status.signal() == Some(libc::SIGKILL);
    ensure!(killed || output.status.code() == Some(3), "it ran with 4 MiB: {output:?}");
    if !killed {
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(stderr.contains("memory"), "the missing resource is not named: {stderr}");
    }
    let mut command = program();
    command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
    let mut next = Daemon::spawn_by(&mut command, folder)?;
    next.wait_ready()?;
    ensure!(next.row(&cgroup.name(), hierarchy)?.present);
    next.verify()
}

/// It reports the reason and does not panic.
fn no_thread() -> Outcome {
    let cgroup = Cgroup::new("pids", "threads")?;
    fs::write(cgroup.join("pids.max"), "1").context("failed to limit the tasks")?;
    let folder = open_folder()?;
    let enter = format!("echo $$ > '{}' && exec \"$@\"", cgroup.join("cgroup.procs").display());
    let output = Command::new("sh")
        .args(["-c", &enter, "sh", env!("CARGO_BIN_EXE_cgtrace"), "--runtime-dir"])
        .arg(folder.path())
        .arg("daemon")
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{output:?}");
    ensure!(stderr.contains("failed to start the scan thread") && stderr.contains("pids.max"), "{stderr}");
    Ok(())
}

/// A pid is unique only together with its start time.
fn pid_reuse() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any_v1_first(), "pid-reuse")?;
    let (first, second) = (cgroup.join("first"), cgroup.join("second"));
    fs::create_dir(&first)?;
    fs::create_dir(&second)?;
    let mut events = Follower::below(&daemon, &cgroup.name(), &["attach"])?;
    let sleeper = Sleeper::start()?;
    let pid = sleeper.pid();
    put(&first, "cgroup.procs", pid)?;
    let former = events.next()?.task.context("no task")?;
    ensure!(former.pid == pid, "{former:?}");
    drop(sleeper);
    let again = again(pid)?;
    put(&second, "cgroup.procs", again.pid())?;
    let event = events.next()?;
    let later = event.task.context("no task")?;
    ensure!(later.pid == pid, "{later:?}");
    ensure!(later.start_boot_ns > former.start_boot_ns, "{former:?} and {later:?}");
    // It inherited its cgroup from this process.
    let from = event.from.as_ref().and_then(|from| from.path.as_ref());
    ensure!(
        from != Some(&cgroup.name_of(&first)),
        "the other process's cgroup is reported as its own: {:?}",
        event.from
    );
    Ok(())
}

/// A process with that pid, which another process had before.
fn again(pid: u32) -> Result<Sleeper> {
    for _ in 0..2_000 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())
            .map_err(|error| skip(format!("this kernel does not let one choose a pid: {error}")))?;
        // Another process of the machine may have been faster.
        let sleeper = Sleeper::start()?;
        if sleeper.pid() == pid {
            return Ok(sleeper);
        }
    }
    Err(skip(format!("the pid {pid} was taken by others 2,000 times")))
}

/// In a time namespace the boot clock and /proc are shifted, but the kernel's records are not.
fn time_namespace() -> Outcome {
    let can = Command::new("unshare").args(["--time", "--boottime", "8640000", "true"]).output()?;
    if !can.status.success() {
        return Err(skip(format!("no time namespace here: {}", String::from_utf8_lossy(&can.stderr).trim())));
    }
    let folder = open_folder()?;
    let mut within = Command::new("unshare");
    // Until some 6.x kernels a program executed in it, and not forked, could start no thread.
    within.args([
        "--time",
        "--boottime",
        "8640000",
        "--fork",
        "--kill-child",
        "--",
        env!("CARGO_BIN_EXE_cgtrace"),
        "--runtime-dir",
    ]);
    within.arg(folder.path()).arg("daemon").env("CGTRACE_LOG", "warn");
    let mut daemon = Daemon::spawn_by(&mut within, folder)?;
    daemon.wait_ready()?;
    let before = boot_ns();
    let cgroup = Cgroup::new(any(), "time")?;
    let lookup = wire::Lookup { paths: vec![cgroup.name()], ..wire::Lookup::default() };
    let answer = daemon.client()?.lookup_with(&lookup)?;
    let after = boot_ns();
    let row = answer
        .results
        .iter()
        .flat_map(|answer| &answer.hierarchies)
        .find(|row| row.present)
        .context("it is absent")?;
    let created_at = row
        .current
        .as_ref()
        .and_then(|instance| instance.created_at.as_ref())
        .context("no creation time")?
        .boot_ns;
    ensure!(row.observed_since.boot_ns < created_at, "observed only after its creation: {row:?}");
    ensure!((before..=after).contains(&created_at), "{before} <= {created_at} <= {after}");
    Ok(())
}

fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
