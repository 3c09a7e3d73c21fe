//! Least privilege: the daemon runs as a user of its own with three capabilities, each of them needed, and gives up
//! two of them once it is loaded.

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
        trial("privileges::an_ordinary_user_with_what_is_needed", an_ordinary_user),
        trial("privileges::root_gives_up_the_rest_too", root),
        trial("privileges::without_cap_bpf_it_says_so", || refused(CapabilitySet::BPF)),
        trial("privileges::without_cap_perfmon_it_says_so", || refused(CapabilitySet::PERFMON)),
        trial("privileges::without_cap_dac_read_search_a_closed_cgroup_is_not_walked", closed_cgroup),
        trial("privileges::tracked_processes_are_found_where_proc_shows_them", tracked_processes),
        trial("privileges::without_any_it_says_so", no_privilege_at_all),
        trial("privileges::as_in_a_pod_it_is_exact", as_in_a_pod),
        trial("privileges::daemon_only_asks_nobody_else", daemon_only),
    ]
}

/// What is kept for as long as the daemon runs.
fn lasting() -> CapabilitySet {
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

/// What each thread of the daemon may do, as the kernel says.
fn holds_no_more_than(daemon: &Daemon, expected: CapabilitySet) -> Outcome {
    // Before Linux 5.19 reading a map is a privilege, unless everyone may.
    let held = daemon_holds_bpf(daemon)?;
    let expected = if held && KernelVersion::current()? < KernelVersion::new(5, 19, 0) {
        expected | CapabilitySet::BPF
    } else {
        expected
    };
    // A thread that walks is there now, and for some seconds more.
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
    // The owning thread, and one that scanned.
    ensure!(threads >= 2, "{threads} threads");
    Ok(())
}

/// It works for all that was promised, and the kernel agrees that it holds nothing else any more.
fn an_ordinary_user() -> Outcome {
    let before = Cgroup::new(any_v1_first(), "before")?;
    let daemon = confined::start(everything(), &[])?;
    holds_no_more_than(&daemon, lasting())?;
    let uid = fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    ensure!(uid.contains(&format!("Uid:\t{0}\t{0}\t{0}\t{0}", confined::UID)), "{uid}");
    let after = Cgroup::new(any(), "after")?;
    ensure!(daemon.row(&before.name(), any_v1_first())?.present && daemon.row(&after.name(), any())?.present);
    let sleeper = Sleeper::start()?;
    ensure!(daemon.run(&["show", "--pid", &sleeper.pid().to_string()])?.status.success());
    // What the kernel program counts can be read still: nothing was lost, and it says so.
    let status = daemon.client()?.status()?;
    ensure!(status.programs.iter().any(|program| program.attached), "{status:?}");
    daemon.verify()
}

fn root() -> Outcome {
    let daemon = Daemon::start()?;
    holds_no_more_than(&daemon, lasting())?;
    let cgroup = Cgroup::new(any(), "root")?;
    ensure!(daemon.row(&cgroup.name(), any())?.present);
    daemon.verify()
}

/// Loading fails, with the words that help.
fn refused(without: CapabilitySet) -> Outcome {
    let name = NEEDS.iter().find(|need| need.capability == without).context("not among the needs")?.name;
    let folder = confined::folder()?;
    let output = confined::command(folder.path(), confined::needed_without(without), &[]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{}: {said}", output.status);
    ensure!(said.contains("no privilege") && said.contains(name), "{said}");
    Ok(())
}

/// A cgroup's directory can be closed to others. What lies below is then found only by those who may read everything.
fn closed_cgroup() -> Outcome {
    let cgroup = Cgroup::new(any(), "closed")?;
    let below = cgroup.join("below");
    fs::create_dir(&below)?;
    fs::set_permissions(cgroup.path(), Permissions::from_mode(0o700))?;
    let name = cgroup.name_of(&below);
    let daemon = confined::start(everything(), &[])?;
    ensure!(daemon.row(&name, any())?.present, "with it, it is scanned");
    let without = confined::needed_without(CapabilitySet::DAC_READ_SEARCH);
    let daemon = confined::start(without, &[])?;
    ensure!(!daemon.row(&name, any())?.present, "CAP_DAC_READ_SEARCH was not needed for this");
    // It knows that it does not know.
    let status = daemon.client()?.status()?;
    let hierarchy = status.hierarchies.iter().find(|state| state.hierarchy == any()).context("no v2")?;
    ensure!(hierarchy.note.is_some(), "{hierarchy:?}");
    Ok(())
}

/// Whether a daemon finds a process of another user that ran before it did.
fn finds_tracked(within: &[&str]) -> Result<bool> {
    const COMM: &str = "cgtrace-tracked";
    let _running = Fake::start(COMM, "1", &[])?;
    let folder = confined::folder()?;
    let mut command = confined::command(folder.path(), everything(), within);
    let mut daemon = Daemon::spawn_by(command.args(["--track-exec", COMM]), folder)?;
    daemon.wait_ready()?;
    let history = wire::History { comms: Some(vec![COMM.to_owned()]), ..wire::History::default() };
    let start = Instant::now();
    let mut found = false;
    // It looks while it answers already: what is not found is not found within this time.
    while !found && start.elapsed() < Duration::from_secs(3) {
        found = !daemon.client()?.history(&history)?.execs.unwrap_or_default().is_empty();
        thread::sleep(Duration::from_millis(20));
    }
    // `unshare` ignores SIGTERM; the daemon dies with it.
    daemon.signal(rustix::process::Signal::KILL)?;
    Ok(found)
}

/// Why the unit does not hide processes, and the pod has `hostPID`.
fn tracked_processes() -> Outcome {
    ensure!(finds_tracked(&[])?, "not found, though nothing hides it");
    let hidden = "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"";
    ensure!(!finds_tracked(&["unshare", "--mount", "sh", "-c", hidden, "sh"])?, "found in spite of hidepid");
    ensure!(!finds_tracked(&["unshare", "--pid", "--fork", "--mount-proc"])?, "hostPID was not needed");
    Ok(())
}

fn no_privilege_at_all() -> Outcome {
    let folder = confined::folder()?;
    let output = confined::command(folder.path(), CapabilitySet::empty(), &[]).output()?;
    ensure!(output.status.code() == Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(said.contains("CAP_BPF and CAP_PERFMON"), "{said}");
    Ok(())
}

/// A cgroup namespace of its own, and the host's cgroupfs read-only: what `deploy/kubernetes/daemonset.yaml` gives.
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

/// A probe must not be answered by a tracer of its own.
fn daemon_only() -> Outcome {
    let folder = open_folder()?;
    let socket = folder.path().join("nobody");
    let asked = |arguments: &[&str]| {
        program().arg("--socket").arg(&socket).args(arguments).output().context("failed to run cgtrace")
    };
    let alone = asked(&["--daemon-only", "status"])?;
    ensure!(alone.status.code() == Some(3) && alone.stdout.is_empty(), "{alone:?}");
    ensure!(String::from_utf8_lossy(&alone.stderr).contains("nobody"), "{alone:?}");
    ensure!(asked(&["status"])?.status.code() == Some(0));
    let daemon = Daemon::start()?;
    ensure!(daemon.run(&["--daemon-only", "status"])?.status.code() == Some(0));
    Ok(())
}
