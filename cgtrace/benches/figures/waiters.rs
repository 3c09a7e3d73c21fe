//! Ten thousand waiters on different names, then ten thousand mkdirs: the time from the return of each
//! mkdir(2) to its waiter's reply.

use std::{
    fs,
    io::Read as _,
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::{
    event::epoll,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};
use serde_json::json;

use crate::{
    answers::now_ns,
    load::{self, Scope},
    report::{Ratio, Report, Row},
    service::{Connection, Daemon},
    statistics::Series,
};

const WAITERS: usize = 10_000;
const ROUNDS: usize = 3;
const GOAL_P99_MS: f64 = 50.0;

pub fn measure(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("10,000 waiters", "no cgroup v2 is mounted");
        return Ok(());
    };
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    let (mut middles, mut tails) = (Series::new(), Series::new());
    for _ in 0..ROUNDS {
        let waits = round(&mount)?;
        middles.push(waits.median());
        tails.push(waits.quantile(0.99));
    }
    report.row(Row {
        what: format!("{WAITERS} waiters on different names, then as many mkdirs"),
        figure: format!("each woken once; p50 {:.1} ms, p99 {:.1} ms", middles.median(), tails.median()),
        ratio: Some(Ratio::of(&tails.over(GOAL_P99_MS), Some(1.0))),
        note: format!("p99 of the goal of {GOAL_P99_MS} ms; from mkdir(2)'s return; {ROUNDS} rounds"),
    });
    Ok(())
}

fn round(mount: &Path) -> Result<Series> {
    let scope = Scope::new(mount, "waiters")?;
    let daemon = Daemon::start()?;
    let bounds = daemon.connect()?.call("Status", &json!({}))?["limits"]["max_connections"].as_u64();
    if bounds.is_none_or(|most| most <= WAITERS as u64) {
        bail!("the daemon accepts {bounds:?} connections at a time");
    }
    let name = |number: usize| scope.path().join(format!("w{number}"));
    let mut waiting = Vec::with_capacity(WAITERS);
    for number in 0..WAITERS {
        let path = format!("/{}", name(number).strip_prefix(mount)?.display());
        let stream = UnixStream::connect(daemon.socket())?;
        let mut connection = Connection::over(stream.try_clone()?);
        connection.send("Wait", &json!({"path": path, "state": "present", "hierarchy": "v2"}), false)?;
        stream.set_nonblocking(true)?;
        waiting.push(stream);
    }
    until_all_wait(&daemon)?;
    let created: Arc<Vec<AtomicI64>> = Arc::new((0..WAITERS).map(|_| AtomicI64::new(0)).collect());
    let reading = thread::spawn(move || read_all(&waiting));
    for (number, created) in created.iter().enumerate() {
        fs::create_dir(name(number))?;
        created.store(now_ns(), Ordering::Relaxed);
    }
    let replied = reading.join().map_err(|_| anyhow!("the reader panicked"))??;
    let mut waits = Series::new();
    for (replied, created) in replied.iter().zip(created.iter()) {
        waits.push((replied - created.load(Ordering::Relaxed)).max(0) as f64 / 1e6);
    }
    Ok(waits)
}

fn until_all_wait(daemon: &Daemon) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        let waiters = daemon.connect()?.call("Status", &json!({}))?["waiters"].as_u64();
        if waiters == Some(WAITERS as u64) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("not all wait after 30 s")
}

/// The time of each reply; an error if a waiter gets two, or none within half a minute after the last.
fn read_all(waiting: &[UnixStream]) -> Result<Vec<i64>> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, stream) in waiting.iter().enumerate() {
        epoll::add(&epoll, stream, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
    }
    let mut replied = vec![0; waiting.len()];
    let mut left = waiting.len();
    let mut events = Vec::with_capacity(1024);
    let mut buffer = [0; 4096];
    let patience = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
    while left > 0 {
        events.clear();
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&patience))?;
        let now = now_ns();
        if events.is_empty() {
            bail!("{left} waiters were not woken");
        }
        for event in &events {
            let number = event.data.u64() as usize;
            let mut stream = waiting.get(number).context("an event of an unknown connection")?;
            let read = stream.read(&mut buffer)?;
            let replies = buffer[..read].split(|byte| *byte == 0).count() - 1;
            if replies != 1 || replied[number] != 0 {
                bail!("waiter {number} got {replies} replies at once, or a second one");
            }
            replied[number] = now;
            left -= 1;
        }
    }
    Ok(replied)
}
