//! Least privilege: the daemon runs as a dedicated user with three capabilities, all of them required, and
//! drops two of them after loading.

use std::{
    fs,
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::util::KernelVersion;
use cgtrace::daemon::service::{NEEDS, Until};
use cgtrace_client::wire;
use libtest_mimic::Trial;
use rustix::thread::CapabilitySet;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, any_v1_first},
    confined,
    daemon::{Daemon, open_folder, program},
    fake::Fake,
    process::Sleeper,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("privileges::an_unprivileged_user_with_the_required_capabilities", an_ordinary_user),
        trial("privileges::root_drops_all_other_capabilities", root),
        trial("privileges::a_missing_cap_bpf_is_reported", || refused(CapabilitySet::BPF)),
        trial("privileges::a_missing_cap_perfmon_is_reported", || refused(CapabilitySet::PERFMON)),
        trial("privileges::scanning_a_closed_cgroup_needs_cap_dac_read_search", closed_cgroup),
        trial("privileges::finding_tracked_processes_needs_their_proc", tracked_processes),
        trial("privileges::missing_capabilities_are_reported", no_privilege_at_all),
        trial("privileges::the_index_is_exact_in_a_pod", as_in_a_pod),
        trial("privileges::daemon_only_needs_a_daemon", daemon_only),
    ]
}

/// The capabilities that the daemon retains.
fn retained() -> CapabilitySet {
    NEEDS.iter().filter(|need| need.until == Until::Ended).map(|need| need.capability).collect()
}

fn everything() -> CapabilitySet {
    confined::needed_without(CapabilitySet::empty())
}

fn daemon_holds_bpf(daemon: &Daemon) -> Result<bool> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).context("no CapEff")?;
    Ok(CapabilitySet::from_bits_retain(u64::from_str_radix(line, 16)?).contains(CapabilitySet::BPF))
}

/// Fails unless each thread of the daemon has exactly these capabilities.
fn holds_no_more_than(daemon: &Daemon, expected: CapabilitySet) -> Outcome {
    // Before Linux 5.19, reading a map needs CAP_BPF if unprivileged BPF is disabled.
    let held = daemon_holds_bpf(daemon)?;
    let expected = if held && KernelVersion::current()? < KernelVersion::new(5, 19, 0) {
        expected | CapabilitySet::BPF
    } else {
        expected
    };
    // Starts the scan thread, which then exists for some seconds.
    daemon.verify()?;
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid()))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.with_context(|| format!("no {name} in {status}"))
        };
        let set = |name: &str| -> Result<CapabilitySet> {
            Ok(CapabilitySet::from_bits_retain(u64::from_str_radix(field(name)?, 16)?))
        };
        ensure!(set("CapEff")? == expected, "{status}");
        ensure!(set("CapPrm")? == expected, "{status}");
        ensure!(set("CapInh")?.is_empty() && set("CapAmb")?.is_empty(), "{status}");
        ensure!(field("NoNewPrivs")? == "1", "{status}");
        threads += 1;
    }
    // The main thread and the scan thread.
    ensure!(threads >= 2, "{threads} threads");
    Ok(())
}

/// The daemon works completely, and holds no other capability.
fn an_ordinary_user() -> Outcome {
    let before = Cgroup::new(any_v1_first(), "before")?;
    let daemon = confined::start(everything(), &[])?;
    holds_no_more_than(&daemon, retained())?;
    let uid = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    ensure!(uid.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", confined::UID)), "{uid}");
    let after = Cgroup::new(any(), "after")?;
    ensure!(daemon.row(&before.name(), any_v1_first())?.present && daemon.row(&after.name(), any())?.present);
    let sleeper = Sleeper::start()?;
    ensure!(daemon.run(&["show", "--pid", &sleeper.pid().to_string()])?.status.success());
    // The counters of the BPF programs are still readable.
    let status = daemon.client()?.status()?;
    ensure!(status.programs.iter().any(|program| program.attached), "{status:?}");
    daemon.verify()
}

fn root() -> Outcome {
    let daemon = Daemon::start()?;
    holds_no_more_than(&daemon, retained())?;
    let cgroup = Cgroup::new(any(), "root")?;
    ensure!(daemon.row(&cgroup.name(), any())?.present);
    daemon.verify()
}

/// Loading fails, and the message names the missing capability.
fn refused(without: CapabilitySet) -> Outcome {
    let name = NEEDS.iter().find(|need| need.capability == without).context("not among the needs")?.name;
    let folder = confined::folder()?;
    let output = confined::command(folder.path(), confined::needed_without(without), &[]).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{}: {stderr}", output.status);
    ensure!(stderr.contains("no privilege") && stderr.contains(name), "{stderr}");
    Ok(())
}

/// A cgroup's directory can deny access to other users. Reading below it then needs `CAP_DAC_READ_SEARCH`.
fn closed_cgroup() -> Outcome {
    let cgroup = Cgroup::new(any(), "closed")?;
    let below = cgroup.join("below");
    fs::create_dir(&below)?;
    fs::set_permissions(cgroup.path(), Permissions::from_mode(0o700))?;
    let path = cgroup.name_of(&below);
    let daemon = confined::start(everything(), &[])?;
    ensure!(daemon.row(&path, any())?.present, "not scanned with CAP_DAC_READ_SEARCH");
    let without = confined::needed_without(CapabilitySet::DAC_READ_SEARCH);
    let daemon = confined::start(without, &[])?;
    ensure!(!daemon.row(&path, any())?.present, "scanned without CAP_DAC_READ_SEARCH");
    // The incomplete scan is reported.
    let status = daemon.client()?.status()?;
    let hierarchy = status.hierarchies.iter().find(|state| state.hierarchy == any()).context("no v2")?;
    ensure!(hierarchy.note.is_some(), "{hierarchy:?}");
    Ok(())
}

/// What a daemon finds of a process of another user that started before it.
fn tracked_found(within: &[&str]) -> Result<Vec<wire::Exec>> {
    const COMM: &str = "cgtrace-tracked";
    let _running = Fake::start(COMM, "1", &[])?;
    let folder = confined::folder()?;
    let mut command = confined::command(folder.path(), everything(), within);
    let mut daemon = Daemon::spawn_by(command.args(["--track-exec", COMM]), folder)?;
    daemon.wait_ready()?;
    let history = wire::History { comms: Some(vec![COMM.to_owned()]), ..wire::History::default() };
    let start = Instant::now();
    let mut found = Vec::new();
    // The search runs in the background after startup.
    while found.is_empty() && start.elapsed() < Duration::from_secs(3) {
        found = daemon.client()?.history(&history)?.execs.unwrap_or_default();
        thread::sleep(Duration::from_millis(20));
    }
    // `unshare` ignores SIGTERM; the daemon exits with it.
    daemon.signal(rustix::process::Signal::KILL)?;
    Ok(found)
}

/// The reason why the unit does not hide processes and the pod has `hostPID`.
fn tracked_processes() -> Outcome {
    ensure!(!tracked_found(&[])?.is_empty(), "not found although visible");
    let hidden = "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"";
    let found = tracked_found(&["unshare", "--mount", "sh", "-c", hidden, "sh"])?;
    ensure!(found.is_empty(), "found despite hidepid: {found:?}");
    let found = tracked_found(&["unshare", "--pid", "--fork", "--mount-proc"])?;
    ensure!(found.is_empty(), "found without hostPID: {found:?}");
    Ok(())
}

fn no_privilege_at_all() -> Outcome {
    let folder = confined::folder()?;
    let output = confined::command(folder.path(), CapabilitySet::empty(), &[]).output()?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(stderr.contains("CAP_BPF and CAP_PERFMON"), "{stderr}");
    Ok(())
}

/// As in `deploy/kubernetes/daemonset.yaml`: a new cgroup namespace, and the host's cgroupfs read-only.
fn as_in_a_pod() -> Outcome {
    let script = "for hierarchy in $(findmnt -rn -o TARGET -t cgroup,cgroup2); do \
                  mount -o remount,bind,ro $hierarchy || exit 9; done; exec \"$@\"";
    let before = Cgroup::new(any_v1_first(), "pod-before")?;
    let within = ["unshare", "--mount", "--cgroup", "sh", "-c", script, "sh"];
    let daemon = confined::start(everything(), &within)?;
    let after = Cgroup::new(any(), "pod-after")?;
    ensure!(daemon.row(&before.name(), any_v1_first())?.present && daemon.row(&after.name(), any())?.present);
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", daemon.pid()))?;
    let cgroupfs = mounts.lines().filter(|line| line.contains(" - cgroup"));
    let writable: Vec<&str> = cgroupfs
        .filter(|line| {
            line.split(' ').nth(5).is_some_and(|options| options.split(',').any(|word| word == "rw"))
        })
        .collect();
    ensure!(writable.is_empty(), "{writable:?}");
    daemon.verify()
}

/// With --daemon-only, a command must not trace by itself.
fn daemon_only() -> Outcome {
    let folder = open_folder()?;
    let socket = folder.path().join("none");
    let run = |arguments: &[&str]| {
        program().arg("--socket").arg(&socket).args(arguments).output().context("failed to run cgtrace")
    };
    let without_daemon = run(&["--daemon-only", "status"])?;
    ensure!(
        without_daemon.status.code() == Some(3) && without_daemon.stdout.is_empty(),
        "{without_daemon:?}"
    );
    ensure!(String::from_utf8_lossy(&without_daemon.stderr).contains("none"), "{without_daemon:?}");
    ensure!(run(&["status"])?.status.code() == Some(0));
    let daemon = Daemon::start()?;
    ensure!(daemon.run(&["--daemon-only", "status"])?.status.code() == Some(0));
    Ok(())
}
