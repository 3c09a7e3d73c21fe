//! Clock jumps: the wall clock is set back, and the machine is suspended.
//!
//! It changes the machine's clock, so it runs only in a virtual machine (`cargo xtask vm`).

use std::{env, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, events::Follower, skip, trial};

const HIERARCHIES: [&str; 2] = ["v2", "name=systemd"];

pub fn trials() -> Vec<Trial> {
    vec![
        trial("machine_clock::the_wall_clock_is_set_back", set_back),
        trial("machine_clock::the_machine_sleeps", sleeps),
    ]
}

fn only_in_a_machine() -> Outcome {
    if env::var_os("CGTRACE_TEST_MACHINE").is_none() {
        return Err(skip("not in a virtual machine, whose clock may be changed: run `cargo xtask vm`"));
    }
    Ok(())
}

/// A cgroup on the first available hierarchy, and that hierarchy.
fn cgroup(what: &str) -> Result<(Cgroup, &'static str)> {
    for hierarchy in HIERARCHIES {
        if let Ok(cgroup) = Cgroup::new(hierarchy, what) {
            return Ok((cgroup, hierarchy));
        }
    }
    Err(skip("neither v2 nor name=systemd is mounted here"))
}

fn seconds(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0)).as_secs_f64()
}

/// The wall clock, set back; restored when dropped.
struct SetBack(i64);

impl SetBack {
    fn by(seconds: i64) -> Result<Self> {
        Self::shift(-seconds)?;
        Ok(Self(seconds))
    }

    fn shift(seconds: i64) -> Result<()> {
        let now = clock_gettime(ClockId::Realtime);
        let then = Timespec { tv_sec: now.tv_sec + seconds, tv_nsec: now.tv_nsec };
        clock_settime(ClockId::Realtime, then).context("failed to set the clock")
    }
}

impl Drop for SetBack {
    fn drop(&mut self) {
        if let Err(error) = Self::shift(self.0) {
            eprintln!("the clock could not be restored: {error:#}");
        }
    }
}

/// Order, instances and waits use the boot clock; only the formatted times follow the wall clock.
fn set_back() -> Outcome {
    const HOUR: i64 = 3_600;
    only_in_a_machine()?;
    let folder = tempfile::tempdir()?;
    let folder = folder.path().join("history");
    let daemon = Daemon::start_with(&["--history", &folder.to_string_lossy()])?;
    let (before, hierarchy) = cgroup("before")?;
    let first = created_at(&daemon, &before.name(), hierarchy)?;
    let known = daemon.row(&before.name(), hierarchy)?.observed_since;
    let mut events = Follower::below(&daemon, "/**", &["mkdir"])?;
    let clock = SetBack::by(HOUR)?;
    let (after, _) = cgroup("after")?;
    let second = created_at(&daemon, &after.name(), hierarchy)?;
    ensure!(second.boot_ns > first.boot_ns, "{first:?} and then {second:?}");
    // Both are formatted by the current clock, so that their order and distance are right.
    let again = created_at(&daemon, &before.name(), hierarchy)?;
    ensure!(again.boot_ns == first.boot_ns, "{first:?} became {again:?}");
    ensure!(again.time < first.time && again.time < second.time, "{first:?}, {again:?}, {second:?}");
    let since = daemon.row(&before.name(), hierarchy)?.observed_since;
    ensure!(since.boot_ns == known.boot_ns, "{known:?} became {since:?}");
    // The event stream continues.
    let event = loop {
        let event = events.next()?;
        if event.path.as_deref() == Some(after.name().as_str()) {
            break event;
        }
    };
    ensure!(event.boot_ns == second.boot_ns, "{event:?} and {second:?}");
    stored_in_order(&daemon, [&before, &after], hierarchy)?;
    // A wait times out after its time, neither at once nor an hour later.
    let waited = seconds(ClockId::Monotonic);
    let output = daemon.run(&["wait", "/cgtrace-test-never", "--timeout", "500ms"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let waited = seconds(ClockId::Monotonic) - waited;
    ensure!(waited >= 0.5, "it waited {waited} s");
    drop(clock);
    daemon.verify()
}

/// The history has both in the order of their events, the later one an hour earlier.
fn stored_in_order(daemon: &Daemon, cgroups: [&Cgroup; 2], hierarchy: &str) -> Outcome {
    let log = wire::Log {
        patterns: Some(cgroups.map(Cgroup::name).to_vec()),
        hierarchies: Some(vec![hierarchy.to_owned()]),
        kinds: Some(vec!["mkdir".to_owned()]),
        ..wire::Log::default()
    };
    let mut client = daemon.client()?;
    let events: Vec<wire::Event> = client
        .log(&log)?
        .filter_map(|item| item.map(|item| item.event).transpose())
        .collect::<Result<_, _>>()?;
    let paths: Vec<String> = events.iter().filter_map(|event| event.path.clone()).collect();
    ensure!(paths == cgroups.map(Cgroup::name), "{events:?}");
    let (first, second) = (&events[0], &events[1]);
    ensure!(first.seq < second.seq && first.boot_ns < second.boot_ns, "{events:?}");
    ensure!(second.time < first.time, "{events:?}");
    let history = client.status()?.history;
    ensure!(history.failure.is_none() && history.missing.is_empty(), "{history:?}");
    Ok(())
}

/// The boot clock includes suspend, and so do instances; no event is lost.
fn sleeps() -> Outcome {
    only_in_a_machine()?;
    let states = fs::read_to_string("/sys/power/state").unwrap_or_default();
    if !states.split_whitespace().any(|state| state == "mem") {
        return Err(skip("this kernel cannot suspend"));
    }
    let alarm = "/sys/class/rtc/rtc0/wakealarm";
    let daemon = Daemon::start()?;
    let (before, hierarchy) = cgroup("awake")?;
    let first = created_at(&daemon, &before.name(), hierarchy)?;
    fs::write(alarm, "0")
        .and_then(|()| fs::write(alarm, "+3"))
        .map_err(|error| skip(format!("cannot set a wake-up alarm: {error}")))?;
    let asleep = || seconds(ClockId::Boottime) - seconds(ClockId::Monotonic);
    let slept = asleep();
    fs::write("/sys/power/state", "mem").context("failed to suspend")?;
    let slept = asleep() - slept;
    ensure!(slept > 0.5, "it slept for {slept} s");
    let (after, _) = cgroup("awoken")?;
    let second = created_at(&daemon, &after.name(), hierarchy)?;
    #[expect(clippy::cast_precision_loss, reason = "seconds, compared with half a second")]
    let apart = (second.boot_ns - first.boot_ns) as f64 / 1e9;
    ensure!(apart >= slept, "{apart} s between two instances, of which {slept} s asleep");
    ensure!(
        created_at(&daemon, &before.name(), hierarchy)?.boot_ns == first.boot_ns,
        "it lost a creation time"
    );
    daemon.verify()
}

fn created_at(daemon: &Daemon, name: &str, hierarchy: &str) -> Result<wire::Timestamp> {
    let row = daemon.row(name, hierarchy)?;
    ensure!(row.present, "{name} is absent: {row:?}");
    row.current.context("no instance")?.created_at.context("no creation time")
}
