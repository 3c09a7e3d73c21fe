//! Latency of replies: a Lookup against a bare echo, a waiter against inotify, many subscribers.

use std::{
    fs,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::{
    fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init},
    time::{ClockId, clock_gettime},
};
use serde_json::json;

use crate::{
    helper::{Helper, Role},
    load::{self, Scope},
    placement::{PLACEMENTS, Placed},
    report::{Ratio, Report, Row},
    service::{Connection, Daemon},
    statistics::Series,
};

/// One Lookup against an echo of the same bytes, alternating.
pub fn lookup(report: &mut Report) -> Result<()> {
    const CALLS: usize = 5_000;
    let daemon = Daemon::start()?;
    let mut client = daemon.connect()?;
    let mut call = serde_json::to_vec(&json!({
        "method": "io.cgtrace.Lookup", "parameters": {"paths": ["/"], "hierarchy": "v2", "previous": false},
    }))?;
    call.push(0);
    client.send_bytes(&call)?;
    let reply = client.receive_bytes()?.to_vec();
    let (by_read, by_epoll) = (Helper::start(Role::Echo, &reply)?, Helper::start(Role::EchoByEpoll, &reply)?);
    let mut sides = [client, Connection::over(by_read.connect()?), Connection::over(by_epoll.connect()?)];
    for (placement, place) in PLACEMENTS {
        let pids = [daemon.pid(), by_read.pid(), by_epoll.pid()];
        let Some(_placed) = Placed::place(placement, &pids)? else {
            report.not_measured(format!("one Lookup round trip, {place}"), "there is one CPU");
            continue;
        };
        let mut series = [const { Series::new() }; 3];
        // In blocks, so that each side is measured under its own load.
        for _ in 0..CALLS / BLOCK {
            for (connection, series) in sides.iter_mut().zip(&mut series) {
                for _ in 0..BLOCK {
                    let start = Instant::now();
                    connection.send_bytes(&call)?;
                    connection.receive_bytes()?;
                    series.push(start.elapsed().as_secs_f64() * 1e6);
                }
            }
        }
        let [ours, by_read, by_epoll] = &series;
        let line =
            |series: &Series| format!("p50 {:.1} µs, p99 {:.1} µs", series.median(), series.quantile(0.99));
        for (echo, name, goal) in
            [(by_read, "a bare echo", Some(1.5)), (by_epoll, "an echo that waits for many (epoll)", None)]
        {
            report.row(Row {
                what: format!("one Lookup round trip against {name}, {place}"),
                figure: format!("{}; echo {}", line(ours), line(echo)),
                ratio: Some(Ratio::of(&ours.stretches(0.5).ratios(&echo.stretches(0.5)), goal)),
                note: format!("p50 of {CALLS} calls, in turn by {BLOCK}; spread over ten stretches"),
            });
        }
    }
    Ok(())
}

/// Consecutive calls to one side.
const BLOCK: usize = 50;

/// The monotonic clock.
pub fn now_ns() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// From the return of mkdir(2) until a waiter runs: ours, an inotify waiter on the same directory, and an
/// inotify waiter in another process that relays it, which is the minimum for any service. They run
/// alternately and alone, so that none delays another.
pub fn wake(report: &mut Report) -> Result<()> {
    const ROUNDS: usize = 400;
    let Some(mount) = load::unified() else {
        report.not_measured("wake of a waiter", "no cgroup v2 is mounted");
        return Ok(());
    };
    let scope = Scope::new(&mount, "wake")?;
    let daemon = Daemon::start()?;
    let relay = Helper::start(Role::Relay(scope.path()), &[b'x'; 400])?;
    let [mut ours, mut inotify, mut relayed] = [const { Series::new() }; 3];
    for round in 0..ROUNDS {
        let path = scope.path().join(format!("a{round}"));
        ours.push(wake_ours(&daemon, &mount, &path)?);
        fs::remove_dir(&path)?;
        inotify.push(wake_inotify(scope.path(), &path)?);
        fs::remove_dir(&path)?;
        relayed.push(wake_relayed(&relay, &path)?);
        fs::remove_dir(&path)?;
    }
    for (share, name, goal) in [(0.5, "p50", 1.5), (0.99, "p99", 2.0)] {
        for (other, against, goal) in [
            (&inotify, "an inotify waiter", Some(goal)),
            (&relayed, "one behind another process (two wakeups)", None),
        ] {
            report.row(Row {
                what: format!("wake of a waiter after mkdir(2) returns against {against}, {name}"),
                figure: format!("{:.1} µs; {:.1} µs", ours.quantile(share), other.quantile(share)),
                ratio: Some(Ratio::of_quantile(&ours, other, share, goal)),
                note: format!("{ROUNDS} rounds, in turn; spread over ten stretches"),
            });
        }
    }
    Ok(())
}

fn create_and_time(path: &Path, woken: &mpsc::Receiver<i64>) -> Result<f64> {
    // Lets the waiter fall asleep.
    thread::sleep(Duration::from_millis(8));
    fs::create_dir(path)?;
    let created = now_ns();
    let woken = woken.recv_timeout(Duration::from_secs(5)).context("the waiter did not wake")?;
    Ok((woken - created).max(0) as f64 / 1e3)
}

fn wake_ours(daemon: &Daemon, mount: &Path, path: &Path) -> Result<f64> {
    let name = format!("/{}", path.strip_prefix(mount)?.display());
    let mut connection = daemon.connect()?;
    connection.send("Wait", &json!({"path": name, "state": "present", "hierarchy": "v2"}), false)?;
    let (sender, woken) = mpsc::channel();
    thread::spawn(move || {
        if connection.receive_bytes().is_ok() {
            let _ = sender.send(now_ns());
        }
    });
    create_and_time(path, &woken)
}

fn wake_inotify(folder: &Path, path: &Path) -> Result<f64> {
    let fd = init(CreateFlags::CLOEXEC)?;
    add_watch(&fd, folder, WatchFlags::CREATE)?;
    let (sender, woken) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        if Reader::new(&fd, &mut buffer).next().is_ok() {
            let _ = sender.send(now_ns());
        }
    });
    create_and_time(path, &woken)
}

fn wake_relayed(relay: &Helper, path: &Path) -> Result<f64> {
    let mut connection = Connection::over(relay.connect()?);
    connection.receive_bytes()?;
    let (sender, woken) = mpsc::channel();
    thread::spawn(move || {
        if connection.receive_bytes().is_ok() {
            let _ = sender.send(now_ns());
        }
    });
    create_and_time(path, &woken)
}

/// 1,000 subscribers, ten of which never read, against the same number with none stuck: cgroups created and
/// delivered per second.
pub fn fan_out(report: &mut Report) -> Result<()> {
    const SUBSCRIBERS: usize = 1_000;
    const STUCK: usize = 10;
    const PAIRS: u32 = 300;
    let Some(mount) = load::unified() else {
        report.not_measured("fan-out", "no cgroup v2 is mounted");
        return Ok(());
    };
    let scope = Scope::new(&mount, "fan")?;
    let pattern = format!("/{}", scope.path().strip_prefix(&mount)?.display());
    let mut series = [Series::default(), Series::default()];
    for _ in 0..7 {
        for (index, stuck) in [0, STUCK].into_iter().enumerate() {
            series[index].push(fan_out_ms(&scope, &pattern, SUBSCRIBERS, stuck, PAIRS)?);
        }
    }
    let [none, some] = series;
    // The time with stuck subscribers over the time without: the inverse is the throughput.
    report.row(Row {
        what: format!("{SUBSCRIBERS} subscribers, {STUCK} of them stuck"),
        figure: format!("{:.0} ms; none stuck {:.0} ms", some.median(), none.median()),
        ratio: Some(Ratio::of(&some.ratios(&none), Some(1.0 / 0.95))),
        note: format!("until {PAIRS} pairs were delivered to every reading subscriber"),
    });
    Ok(())
}

fn fan_out_ms(scope: &Scope, pattern: &str, subscribers: usize, stuck: usize, pairs: u32) -> Result<f64> {
    let daemon = Daemon::start()?;
    let mut connections = Vec::new();
    for _ in 0..subscribers {
        let mut connection = daemon.connect()?;
        connection.send("Watch", &json!({"patterns": [pattern], "kinds": ["mkdir", "rmdir"]}), true)?;
        connection.receive_bytes()?;
        connections.push(connection);
    }
    let readers = connections.split_off(stuck);
    let (sender, done) = mpsc::channel();
    let start = Instant::now();
    let reading = thread::spawn(move || {
        for mut connection in readers {
            for _ in 0..2 * pairs {
                if connection.receive_bytes().is_err() {
                    return;
                }
            }
        }
        let _ = sender.send(Instant::now());
    });
    load::pairs(scope.path(), pairs)?;
    let end =
        done.recv_timeout(Duration::from_mins(1)).context("not every subscriber received all events")?;
    let _ = reading.join();
    Ok((end - start).as_secs_f64() * 1e3)
}
