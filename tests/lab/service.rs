//! The units of `deploy/systemd/`, started by a real systemd.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::{Client, RuntimeDir, wire};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    bpffs::Bpffs,
    cgroup,
    systemd::{Boot, Systemd},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("service::it_is_hardened", hardened),
        trial("service::it_starts_before_kubelet_and_answers", before_kubelet),
        trial("service::the_public_socket_is_for_everyone_and_the_private_one_for_its_group", two_sockets),
        trial("service::a_running_kubelet_is_found", already_running),
        trial("service::it_starts_again_after_a_restart_and_a_kill", restarted_and_killed),
        trial("service::its_history_survives_a_restart_and_is_readable_by_its_group", history),
        trial("service::with_pins_a_restart_misses_nothing", pinned),
        trial("service::a_reload_applies_the_new_configuration", reloaded),
        trial("service::a_connection_starts_it", activated),
        trial("service::without_the_socket_units_stale_sockets_are_replaced", stale_socket),
        trial("service::the_watchdog_kills_a_stopped_daemon", watchdog),
        trial("service::a_usage_error_is_not_retried", wrong_usage),
        trial("service::journal_entries_have_priorities", journal),
    ]
}

/// Long enough for the slowest machine; only a hang takes it.
const PATIENCE: Duration = Duration::from_mins(2);

const SOCKETS: [&str; 2] = ["cgtrace-public.socket", "cgtrace-private.socket"];

const STOP: [&str; 5] =
    ["systemctl", "stop", "cgtrace-public.socket", "cgtrace-private.socket", "cgtrace.service"];

/// A booted systemd with cgtrace installed as by a package, and not started.
pub fn installed(what: &'static str) -> Result<Systemd> {
    installed_in(Boot::new(what))
}

fn installed_in(boot: Boot) -> Result<Systemd> {
    // All of the host's hierarchies from their roots; otherwise the index would be empty.
    let cgroupfs = cgroup::mount("v2")?;
    let cgroupfs = if cgroupfs == Path::new("/sys/fs/cgroup") {
        cgroupfs
    } else {
        cgroupfs.parent().context("the v2 mount has no parent")?.to_owned()
    };
    let systemd = boot
        .with_bpf()
        .option("--system-call-filter=bpf")
        .option(format!("--bind-ro={}:/mnt/cgroup", cgroupfs.display()))
        .option(format!("--bind-ro={}:/usr/bin/cgtrace", env!("CARGO_BIN_EXE_cgtrace")))
        .start()?;
    let deploy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    for (from, to) in [
        ("cgtrace.service", "system/cgtrace.service"),
        ("cgtrace-public.socket", "system/cgtrace-public.socket"),
        ("cgtrace-private.socket", "system/cgtrace-private.socket"),
        ("cgtrace-wait@.service", "system/cgtrace-wait@.service"),
        ("sysusers.d/cgtrace.conf", "../sysusers.d/cgtrace.conf"),
        ("tmpfiles.d/cgtrace.conf", "../tmpfiles.d/cgtrace.conf"),
    ] {
        let to = systemd.path("/usr/lib/systemd").join(to);
        fs::copy(deploy.join(from), &to).with_context(|| format!("failed to install {}", to.display()))?;
    }
    fs::create_dir_all(systemd.path("/etc/cgtrace"))?;
    fs::copy(deploy.join("../cgtrace.toml"), systemd.path("/etc/cgtrace/cgtrace.toml"))?;
    systemd.run(&["systemd-sysusers", "cgtrace.conf"])?;
    systemd.run(&["systemd-tmpfiles", "--create", "cgtrace.conf"])?;
    systemd.run(&["systemctl", "daemon-reload"])?;
    Ok(systemd)
}

/// The runtime directory inside, by its host path.
fn runtime_dir(systemd: &Systemd) -> RuntimeDir {
    RuntimeDir::new(systemd.path(RuntimeDir::DEFAULT))
}

/// A connection from the host to the private socket inside.
pub fn client(systemd: &Systemd) -> Result<Client> {
    let stream = UnixStream::connect(runtime_dir(systemd).private()).context("no private socket")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(Client::from_stream(stream))
}

pub fn main_pid(systemd: &Systemd) -> Result<u32> {
    Ok(systemd.show("cgtrace.service", "MainPID")?.parse()?)
}

/// Waits until the condition holds; fails with the unit's status after a long time.
pub fn until(systemd: &Systemd, what: &str, holds: impl Fn() -> Result<bool>) -> Outcome {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if holds()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    let status = systemd.output(&["systemctl", "status", "--no-pager", "--full", "cgtrace.service"])?;
    bail!("{what}: not within {PATIENCE:?}: {}", String::from_utf8_lossy(&status.stdout))
}

pub fn drop_in(systemd: &Systemd, text: &str) -> Outcome {
    let folder = systemd.path("/etc/systemd/system/cgtrace.service.d");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("test.conf"), text)?;
    systemd.run(&["systemctl", "daemon-reload"])?;
    Ok(())
}

fn hardened() -> Outcome {
    let systemd = installed("hardened")?;
    for (unit, limit) in [("cgtrace.service", 2.0), ("cgtrace-wait@x.service", 2.0)] {
        let report = systemd.run(&["systemd-analyze", "security", "--no-pager", unit])?;
        let score = report.lines().find_map(|line| {
            line.split_once(&format!("exposure level for {unit}: "))?.1.split(' ').next()?.parse::<f64>().ok()
        });
        ensure!(score.is_some_and(|score| score <= limit), "{unit}: {score:?}: {report}");
    }
    // systemd only warns of unknown directives, and must not warn here.
    let verified = systemd.output(&[
        "systemd-analyze",
        "verify",
        "--man=no",
        "/usr/lib/systemd/system/cgtrace.service",
        "/usr/lib/systemd/system/cgtrace-public.socket",
        "/usr/lib/systemd/system/cgtrace-private.socket",
        "cgtrace-wait@system.slice-x.service.service",
    ])?;
    let stderr = String::from_utf8_lossy(&verified.stderr);
    ensure!(verified.status.success() && !stderr.contains("cgtrace"), "{stderr}");
    Ok(())
}

fn before_kubelet() -> Outcome {
    let systemd = installed("early")?;
    systemd.unit("kubelet.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    systemd.unit("node.target", "[Unit]\nWants=kubelet.service cgtrace.service\n")?;
    systemd.run(&["systemctl", "start", "node.target"])?;
    until(&systemd, "kubelet runs", || Ok(systemd.show("kubelet.service", "ActiveState")? == "active"))?;
    // READY came before kubelet was started, so the creation of its cgroup was observed.
    let since = |unit: &str, property: &str| -> Result<u64> { Ok(systemd.show(unit, property)?.parse()?) };
    let ready = since("cgtrace.service", "ActiveEnterTimestampMonotonic")?;
    let started = since("kubelet.service", "InactiveExitTimestampMonotonic")?;
    ensure!(0 < ready && ready <= started, "ready at {ready}, kubelet started at {started}");
    let name = systemd.name(&systemd.show("kubelet.service", "ControlGroup")?);
    let lookup =
        wire::Lookup { paths: vec![name], hierarchy: Some("v2".to_owned()), ..wire::Lookup::default() };
    let answer = client(&systemd)?.lookup_with(&lookup)?.results.into_iter().next().context("empty reply")?;
    let instance = answer
        .hierarchies
        .first()
        .and_then(|row| row.current.clone())
        .context("kubelet's cgroup is absent")?;
    ensure!(
        instance.created_at.is_some() && instance.created_by.as_ref().is_some_and(|by| by.comm == "systemd"),
        "{instance:?}"
    );
    // As its own user, with only the capability that it retains.
    let pid = main_pid(&systemd)?;
    let status = systemd.run(&["cat", &format!("/proc/{pid}/status")])?;
    let uid = systemd.run(&["id", "-u", "cgtrace"])?;
    ensure!(status.contains(&format!("Uid:\t{uid}\t{uid}\t{uid}\t{uid}")) && uid != "0", "{status}");
    ensure!(status.contains("CapEff:\t0000000000000004\nCapBnd:"), "{status}");
    let text = systemd.show("cgtrace.service", "StatusText")?;
    ensure!(text.starts_with("tracing ") && text.ends_with(" hierarchies"), "{text}");
    let verify = systemd.output(&["cgtrace", "--daemon-only", "verify"])?;
    ensure!(verify.status.success(), "{verify:?}");
    ensure!(systemd.show("cgtrace.service", "MemoryMax")? == (256 << 20).to_string());
    Ok(())
}

/// Everyone may use the public socket; root and the group cgtrace the private one.
fn two_sockets() -> Outcome {
    let systemd = installed("sockets")?;
    starts(&systemd)?;
    let modes = |path: &str| systemd.run(&["stat", "-c", "%a %G", path]);
    ensure!(modes("/run/cgtrace/public")? == "755 cgtrace");
    ensure!(modes("/run/cgtrace/private")? == "750 cgtrace");
    ensure!(modes("/run/cgtrace/private/io.cgtrace")? == "660 cgtrace");
    ensure!(modes("/run/cgtrace/public/io.cgtrace")?.starts_with("666 "));
    let exit_code = |groups: &str, arguments: &[&str]| -> Result<Option<i32>> {
        let user = ["setpriv", "--reuid=65534", "--regid=65534", groups, "cgtrace", "--daemon-only"];
        Ok(systemd.output(&[&user[..], arguments].concat())?.status.code())
    };
    let private = ["--socket", "/run/cgtrace/private/io.cgtrace", "exists", "-q", "/"];
    ensure!(exit_code("--clear-groups", &["exists", "-q", "/"])? == Some(0), "the public socket is closed");
    ensure!(exit_code("--clear-groups", &private)? == Some(3), "the private socket is open to everyone");
    let group = systemd.run(&["getent", "group", "cgtrace"])?;
    let gid = group.split(':').nth(2).context("no gid")?;
    ensure!(exit_code(&format!("--groups={gid}"), &private)? == Some(0), "closed to its group");
    // One without the other is refused, and the error names the missing one.
    systemd.run(&STOP)?;
    systemd.run(&["systemctl", "mask", "cgtrace-private.socket"])?;
    ensure!(!systemd.output(&["systemctl", "start", "cgtrace.service"])?.status.success());
    systemd.run(&["journalctl", "--sync"])?;
    let journal = systemd.run(&["journalctl", "--no-pager", "-u", "cgtrace.service"])?;
    ensure!(journal.contains("expected two, named `public` and `private`"), "{journal}");
    Ok(())
}

/// A process with a tracked comm that runs before the daemon starts.
fn already_running() -> Outcome {
    let systemd = installed("running")?;
    fs::copy("/bin/sleep", systemd.path("/usr/local/bin/kubelet"))?;
    systemd.unit("kubelet.service", "[Service]\nType=exec\nExecStart=/usr/local/bin/kubelet 1000\n")?;
    systemd.run(&["systemctl", "start", "kubelet.service"])?;
    starts(&systemd)?;
    let history = wire::History { comms: Some(vec!["kubelet".to_owned()]), ..wire::History::default() };
    until(&systemd, "the running kubelet is found", || {
        let execs = client(&systemd)?.history(&history)?.execs.unwrap_or_default();
        // Its cgroup cannot be read in here: /proc shows paths within this container's cgroup namespace.
        Ok(execs.iter().any(|exec| !exec.observed && exec.task.comm == "kubelet"))
    })
}

fn restarted_and_killed() -> Outcome {
    let systemd = installed("restarts")?;
    systemd.run(&["systemctl", "start", "cgtrace.service"])?;
    let first = main_pid(&systemd)?;
    systemd.run(&["systemctl", "restart", "cgtrace.service"])?;
    let second = main_pid(&systemd)?;
    ensure!(first != second && client(&systemd)?.status()?.hierarchies.iter().any(|state| state.scanned));
    systemd.run(&["systemctl", "kill", "--signal=KILL", "cgtrace.service"])?;
    // systemd owns the socket: a client that connects meanwhile waits, and the next daemon answers it.
    client(&systemd)?.status()?;
    until(&systemd, "restarted", || Ok(systemd.show("cgtrace.service", "NRestarts")? == "1"))?;
    let third = main_pid(&systemd)?;
    ensure!(third != second && third != 0, "{second}, {third}");
    // A stop is not a failure, and is immediate.
    systemd.run(&["systemctl", "stop", "cgtrace.service"])?;
    ensure!(systemd.show("cgtrace.service", "Result")? == "success");
    ensure!(systemd.show("cgtrace.service", "ExecMainStatus")? == "0");
    Ok(())
}

/// In the unit's sandbox, as its own user, in the directory that the packaged configuration names.
fn history() -> Outcome {
    let systemd = installed("history")?;
    starts(&systemd)?;
    let state = client(&systemd)?.status()?.history;
    ensure!(state.folder.as_deref() == Some("/var/lib/cgtrace") && state.failure.is_none(), "{state:?}");
    systemd.unit("meanwhile.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    systemd.run(&["systemctl", "start", "meanwhile.service"])?;
    let name = systemd.name(&systemd.show("meanwhile.service", "ControlGroup")?);
    systemd.run(&["systemctl", "stop", "meanwhile.service"])?;
    let stored = |systemd: &Systemd| Ok(client(systemd)?.status()?.history.stored > 0);
    until(&systemd, "something is stored", || stored(&systemd))?;
    let modes = |path: &str| systemd.run(&["stat", "-c", "%a %U %G", path]);
    ensure!(modes("/var/lib/cgtrace")? == "750 cgtrace cgtrace", "{}", modes("/var/lib/cgtrace")?);
    // SQLite's log and its index, too; the unit's umask is 0077.
    for suffix in ["", "-wal", "-shm"] {
        let file = format!("/var/lib/cgtrace/segment-000001.db{suffix}");
        ensure!(modes(&file)? == "640 cgtrace cgtrace", "{file}: {}", modes(&file)?);
    }
    let before = client(&systemd)?.status()?.seq;
    systemd.run(&["systemctl", "restart", "cgtrace.service"])?;
    let after = client(&systemd)?.status()?;
    ensure!(after.seq >= before && after.history.failure.is_none(), "{before}: {after:?}");
    let lookup = wire::Lookup { paths: vec![name], ..wire::Lookup::default() };
    let answer = client(&systemd)?.lookup_with(&lookup)?.results.into_iter().next().context("empty reply")?;
    let previous = answer.hierarchies.iter().find_map(|result| result.previous.first());
    ensure!(
        previous.is_some_and(|instance| instance.created_by.as_ref().is_some_and(|by| by.comm == "systemd")
            && instance.removed_at.is_some()),
        "{answer:?}"
    );
    Ok(())
}

/// Starts the service; fails with its journal.
pub fn starts(systemd: &Systemd) -> Outcome {
    let started = systemd.output(&["systemctl", "start", "cgtrace.service"])?;
    let journal = systemd.run(&["journalctl", "--no-pager", "-u", "cgtrace.service"])?;
    ensure!(started.status.success(), "{journal}");
    Ok(())
}

/// The drop-in in the documentation that contains `what`.
fn documented(what: &str) -> Result<&'static str> {
    let document = include_str!("../../docs/user/service.md");
    let blocks = document.split("```ini\n").skip(1).filter_map(|rest| rest.split_once("```"));
    blocks
        .map(|(block, _)| block)
        .find(|block| block.contains(what))
        .with_context(|| format!("no drop-in has {what}"))
}

fn pinned() -> Outcome {
    let bpffs = Bpffs::mount()?;
    // As systemd mounts it; in a container systemd does not.
    fs::set_permissions(bpffs.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let systemd =
        installed_in(Boot::new("pinned").option(format!("--bind={}:/sys/fs/bpf", bpffs.path().display())))?;
    drop_in(&systemd, documented("daemon --pin")?)?;
    starts(&systemd)?;
    let first = main_pid(&systemd)?;
    ensure!(bpffs.pins().read_dir()?.next().is_some(), "nothing is pinned");
    // The sockets would start the daemon again at the next connection.
    systemd.run(&STOP)?;
    systemd.unit("meanwhile.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    systemd.run(&["systemctl", "start", "meanwhile.service"])?;
    starts(&systemd)?;
    ensure!(main_pid(&systemd)? != first, "it was not restarted");
    let name = systemd.name(&systemd.show("meanwhile.service", "ControlGroup")?);
    let lookup =
        wire::Lookup { paths: vec![name], hierarchy: Some("v2".to_owned()), ..wire::Lookup::default() };
    let answer = client(&systemd)?.lookup_with(&lookup)?.results.into_iter().next().context("empty reply")?;
    let instance =
        answer.hierarchies.into_iter().next().and_then(|row| row.current).context("it is absent")?;
    ensure!(
        instance.created_at.is_some() && instance.created_by.as_ref().is_some_and(|by| by.comm == "systemd"),
        "{instance:?}"
    );
    let status = systemd.run(&["cat", &format!("/proc/{}/status", main_pid(&systemd)?)])?;
    ensure!(status.contains("CapEff:\t0000000000000004\nCapBnd:"), "{status}");
    systemd.run(&STOP)?;
    systemd.run(&["cgtrace", "unpin"])?;
    ensure!(!bpffs.pins().exists() || bpffs.pins().read_dir()?.next().is_none(), "pins remain");
    Ok(())
}

fn reloaded() -> Outcome {
    let systemd = installed("reloaded")?;
    systemd.run(&["systemctl", "start", "cgtrace.service"])?;
    let before = main_pid(&systemd)?;
    fs::write(systemd.path("/etc/cgtrace/cgtrace.toml"), "max-paths-per-lookup = 77\n")?;
    systemd.run(&["systemctl", "reload", "cgtrace.service"])?;
    until(&systemd, "the new limit", || Ok(client(&systemd)?.status()?.limits.max_paths_per_lookup == 77))?;
    ensure!(main_pid(&systemd)? == before, "it was restarted");
    Ok(())
}

fn activated() -> Outcome {
    let systemd = installed("activated")?;
    systemd.run(&["systemctl", "start", SOCKETS[0], SOCKETS[1]])?;
    let state = || systemd.show("cgtrace.service", "ActiveState");
    ensure!(state()? == "inactive");
    let status = systemd.run(&["cgtrace", "--daemon-only", "--json", "status"])?;
    ensure!(state()? == "active", "a connection did not start it: {status}");
    // After a stop the next connection starts it again, on the same socket.
    systemd.output(&["systemctl", "stop", "cgtrace.service"])?;
    ensure!(runtime_dir(&systemd).public().exists(), "the public socket was removed with the service");
    ensure!(runtime_dir(&systemd).private().exists(), "the private socket was removed with the service");
    client(&systemd)?.status()?;
    until(&systemd, "started again", || Ok(state()? == "active"))
}

fn stale_socket() -> Outcome {
    let systemd = installed("stale")?;
    systemd.run(&["systemctl", "mask", SOCKETS[0], SOCKETS[1]])?;
    systemd.run(&["systemctl", "start", "cgtrace.service"])?;
    client(&systemd)?.status()?;
    let before = main_pid(&systemd)?;
    systemd.run(&["systemctl", "kill", "--signal=KILL", "cgtrace.service"])?;
    // The socket file of the killed daemon does not prevent the start.
    until(&systemd, "restarted", || {
        let pid = main_pid(&systemd)?;
        Ok(pid != 0 && pid != before && systemd.show("cgtrace.service", "ActiveState")? == "active")
    })?;
    client(&systemd)?.status()?;
    systemd.run(&["systemctl", "stop", "cgtrace.service"])?;
    for socket in [runtime_dir(&systemd).public(), runtime_dir(&systemd).private()] {
        ensure!(!socket.exists(), "the daemon left its socket {}", socket.display());
    }
    Ok(())
}

fn watchdog() -> Outcome {
    let systemd = installed("watchdog")?;
    drop_in(&systemd, "[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n")?;
    systemd.run(&["systemctl", "start", "cgtrace.service"])?;
    let healthy = main_pid(&systemd)?;
    // Twice the watchdog's interval: it has sent keep-alives.
    thread::sleep(Duration::from_secs(4));
    ensure!(main_pid(&systemd)? == healthy, "a healthy daemon was killed");
    systemd.run(&["systemctl", "kill", "--signal=STOP", "cgtrace.service"])?;
    until(&systemd, "the stopped one is replaced", || {
        let pid = main_pid(&systemd)?;
        Ok(pid != 0 && pid != healthy && systemd.show("cgtrace.service", "ActiveState")? == "active")
    })?;
    let journal = systemd.run(&["journalctl", "--no-pager", "-u", "cgtrace.service"])?;
    ensure!(journal.contains("Watchdog timeout"), "{journal}");
    client(&systemd)?.status()?;
    Ok(())
}

fn wrong_usage() -> Outcome {
    let systemd = installed("usage")?;
    drop_in(&systemd, "[Service]\nExecStart=\nExecStart=/usr/bin/cgtrace daemon --nonsense\n")?;
    let start = systemd.output(&["systemctl", "start", "cgtrace.service"])?;
    ensure!(!start.status.success());
    ensure!(systemd.show("cgtrace.service", "ActiveState")? == "failed");
    ensure!(systemd.show("cgtrace.service", "ExecMainStatus")? == "2");
    ensure!(systemd.show("cgtrace.service", "NRestarts")? == "0");
    Ok(())
}

fn journal() -> Outcome {
    let systemd = installed("journal")?;
    systemd.run(&["systemctl", "start", "cgtrace.service"])?;
    systemd.run(&["journalctl", "--sync"])?;
    let lines = systemd.run(&["journalctl", "--no-pager", "-u", "cgtrace.service", "-o", "json"])?;
    let mut found = false;
    for line in lines.lines() {
        let entry: serde_json::Value = serde_json::from_str(line)?;
        if entry["MESSAGE"].as_str().is_some_and(|message| message.contains("index complete")) {
            ensure!(entry["PRIORITY"] == "6", "{line}");
            ensure!(!line.contains("INFO"), "{line}");
            found = true;
        }
    }
    ensure!(found, "{lines}");
    drop_in(
        &systemd,
        "[Service]\nExecStart=\nExecStart=/usr/bin/cgtrace daemon --btf /nowhere\nRestart=no\n",
    )?;
    ensure!(!systemd.output(&["systemctl", "restart", "cgtrace.service"])?.status.success());
    systemd.run(&["journalctl", "--sync"])?;
    let errors = systemd.run(&["journalctl", "--no-pager", "-t", "cgtrace", "-p", "err", "-o", "cat"])?;
    ensure!(errors.contains("/nowhere") && !errors.contains("<3>"), "{errors}");
    Ok(())
}
