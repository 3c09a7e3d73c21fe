//! Sixteen users at every limit of the public socket at once: their cost to root on the private socket, the
//! daemon's memory, and whether records are lost in a concurrent flood of long names.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    flood::{Flood, Kind},
    load::{self, Scope},
    placement::{Placed, Placement},
    report::{Ratio, Report, Row},
    service::Daemon,
    statistics::Series,
};

/// Rounds, alternating without and with the attackers. Few and long, because it takes seconds to reach every
/// limit.
const ROUNDS: usize = 5;

/// Calls per round.
const CALLS: u32 = 2_000;

/// Lookups per second.
const RATE: u32 = 1_000;

/// More than the public socket admits.
const CONNECTIONS: usize = 1_536;

const CGROUPS: usize = 2_000;

/// The maximum memory of the daemon, in MiB.
const MEMORY_LIMIT: f64 = 200.0;

pub fn measure(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("attackers on 16 uids", "no cgroup v2 is mounted");
        return Ok(());
    };
    let scope = Scope::new(&mount, "attackers")?;
    load::populate(scope.path(), CGROUPS)?;
    raise_descriptors()?;
    let daemon = Daemon::start()?;
    let mut client = daemon.connect()?;
    let placed = Placed::place(Placement::Apart, &[daemon.pid()])?;
    let place = if placed.is_some() { "the daemon on a separate CPU" } else { "all on one CPU" };
    client.lookups_at(RATE, CALLS)?;
    let (mut without, mut with) = (Series::new(), Series::new());
    for _ in 0..ROUNDS {
        without.extend(&client.lookups_at(RATE, CALLS)?);
        with.extend(&under_attack(&daemon, || client.lookups_at(RATE, CALLS))?);
    }
    let lost_before = lost(&daemon)?;
    let pairs = under_attack(&daemon, || flood(&scope))?;
    let lost = lost(&daemon)? - lost_before;
    for (share, name, goal) in [(0.5, "p50", 1.05), (0.99, "p99", 2.0)] {
        report.row(Row {
            what: format!(
                "private Lookup, {name}, beside attackers on 16 uids at every limit of the public socket"
            ),
            figure: format!("{:.1} µs; alone {:.1} µs", with.quantile(share), without.quantile(share)),
            ratio: Some(Ratio::of_quantile(&with, &without, share, Some(goal))),
            note: format!("{place}; {ROUNDS} rounds of {CALLS} calls at {RATE} a second"),
        });
    }
    report.figure(
        "lifecycle records lost in a flood of mkdirs with 4 KB names beside them",
        format!("{lost} of {}", 2 * pairs),
        "goal: 0; 10 s, one thread",
    );
    let peak = peak(daemon.pid())?;
    let ratio = peak / MEMORY_LIMIT;
    report.row(Row {
        what: "the daemon's peak memory beside them".to_owned(),
        figure: format!("{peak:.0} MiB"),
        ratio: Some(Ratio { median: ratio, low: ratio, high: ratio, goal: Some(1.0) }),
        note: format!("VmHWM; limit {MEMORY_LIMIT} MiB"),
    });
    Ok(())
}

/// Runs `work` while the attackers are at every limit. The attackers run only when this CPU is otherwise
/// idle, because what they take from the client there is no cost of the daemon.
fn under_attack<T>(daemon: &Daemon, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let socket = daemon.public_socket();
    let ended = AtomicBool::new(false);
    let ready = AtomicBool::new(false);
    let thread_id = AtomicI32::new(0);
    thread::scope(|threads| {
        let attackers = threads.spawn(|| -> Result<()> {
            let attack = || -> Result<()> {
                let mut flood = Flood::of(&socket, &Kind::ALL, CONNECTIONS)?;
                policy(0, libc::SCHED_IDLE)?;
                thread_id.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
                ready.store(true, Ordering::Release);
                let mut renewed = Instant::now();
                while !ended.load(Ordering::Relaxed) {
                    flood.proceed(Duration::from_millis(10))?;
                    if renewed.elapsed() > Duration::from_millis(500) {
                        flood.renew()?;
                        renewed = Instant::now();
                    }
                }
                Ok(())
            };
            let outcome = attack();
            ready.store(true, Ordering::Release);
            outcome
        });
        while !ready.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(10));
        }
        let outcome = work();
        ended.store(true, Ordering::Relaxed);
        // On a busy machine it would never finish otherwise.
        policy(thread_id.load(Ordering::Relaxed), libc::SCHED_OTHER)?;
        attackers.join().map_err(|_| anyhow::anyhow!("the attackers panicked"))??;
        outcome
    })
}

/// Raises the limit of descriptors to the maximum.
fn raise_descriptors() -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Sets the scheduling policy of a thread; 0 is this one.
fn policy(thread: i32, policy: i32) -> Result<()> {
    // SAFETY: the structure is valid for the whole call, and both policies require all zero.
    let outcome = unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(thread, policy, &raw const parameters)
    };
    ensure!(outcome == 0, "sched_setscheduler: {}", std::io::Error::last_os_error());
    Ok(())
}

/// Creates and removes cgroups with names of 4 KB as fast as one thread can. Returns how many.
fn flood(scope: &Scope) -> Result<u64> {
    let folder = fs::File::open(scope.path())?;
    let mut pairs = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        load::long_pair(&folder, pairs)?;
        pairs += 1;
    }
    Ok(pairs)
}

/// Lost records of all hierarchies and rings.
fn lost(daemon: &Daemon) -> Result<u64> {
    let status = daemon.connect()?.call("Status", &json!({}))?;
    let sum = |list: &str| -> Result<u64> {
        let items = status[list].as_array().with_context(|| format!("no {list}: {status}"))?;
        Ok(items.iter().filter_map(|item| item["lost"].as_u64()).sum())
    };
    Ok(sum("hierarchies")? + sum("rings")?)
}

/// The peak memory, in MiB.
fn peak(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim_end_matches("kB").trim().parse::<f64>()? / 1024.0)
}
