//! What one stuck or hostile client costs another one: the other's Lookups with and without it, in turn.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::json;

use crate::{
    load::{self, Scope},
    placement::{Placed, Placement},
    report::{Ratio, Report, Row},
    service::{Connection, Daemon},
    statistics::Series,
};

const ROUNDS: usize = 25;

/// So many Lookups a second the other client makes, which is more than any program does that asks before it acts.
const RATE: u32 = 1_000;

const CALLS: u32 = 200;

/// Cgroups for whoever asks for all of them.
const CGROUPS: usize = 2_000;

#[derive(Clone, Copy)]
enum Kind {
    NeverReads,
    OneByteASecond,
    OpensAndLeaves,
    AsksForEverything,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::NeverReads, "asks and never reads"),
    (Kind::OneByteASecond, "sends one byte a second"),
    (Kind::OpensAndLeaves, "opens and leaves, 1,000 times a second"),
    (Kind::AsksForEverything, "asks for everything, again and again"),
];

pub fn measure(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("hostile clients", "no cgroup v2 is mounted");
        return Ok(());
    };
    let scope = Scope::new(&mount, "hostile")?;
    load::populate(scope.path(), CGROUPS)?;
    let daemon = Daemon::start()?;
    let mut client = daemon.connect()?;
    // The service has a CPU of its own, and the two clients share another: what they take from each other there is none
    // of its cost.
    let placed = Placed::place(Placement::Apart, &[daemon.pid()])?;
    let place = if placed.is_some() { "the service on a CPU of its own" } else { "all on one CPU" };
    lookups(&mut client)?;
    for (kind, name) in KINDS {
        let (mut without, mut with) = (Series::new(), Series::new());
        let (mut slow_without, mut slow_with) = (Series::new(), Series::new());
        for _ in 0..ROUNDS {
            let times = lookups(&mut client)?;
            without.push(times.median());
            slow_without.push(times.quantile(0.99));
            let hostile = Hostile::start(kind, daemon.socket().to_owned());
            // Until it is at it.
            thread::sleep(Duration::from_millis(100));
            let times = lookups(&mut client)?;
            with.push(times.median());
            slow_with.push(times.quantile(0.99));
            hostile.stop();
        }
        report.row(Row {
            what: format!("one client's Lookups beside another that {name}"),
            figure: format!(
                "p50 {:.1} µs, p99 {:.1} µs; alone p50 {:.1} µs, p99 {:.1} µs",
                with.median(),
                slow_with.median(),
                without.median(),
                slow_without.median()
            ),
            ratio: Some(Ratio::of(&with.ratios(&without), Some(1.05))),
            note: format!("{place}; {RATE} calls a second, {ROUNDS} rounds of {CALLS}"),
        });
    }
    Ok(())
}

/// Lookups at that rate: what each takes, in µs.
fn lookups(client: &mut Connection) -> Result<Series> {
    let pause = Duration::from_secs(1) / RATE;
    let mut series = Series::new();
    let mut next = Instant::now();
    for _ in 0..CALLS {
        next += pause;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let start = Instant::now();
        client.send("Lookup", &json!({"names": ["/"], "hierarchy": "v2"}), false)?;
        client.receive_bytes()?;
        series.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(series)
}

struct Hostile {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Hostile {
    fn start(kind: Kind, socket: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            // Whatever ends it early is the service's right.
            move || drop(attack(kind, &socket, &stop))
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

fn attack(kind: Kind, socket: &PathBuf, stop: &AtomicBool) -> Result<()> {
    let going = || !stop.load(Ordering::Relaxed);
    let everything = b"{\"method\":\"io.cgtrace.List\"}\0";
    match kind {
        Kind::NeverReads => {
            let mut stream = UnixStream::connect(socket)?;
            stream.set_write_timeout(Some(Duration::from_millis(50)))?;
            while going() {
                if stream.write_all(everything).is_err() {
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
        Kind::OneByteASecond => {
            let mut stream = UnixStream::connect(socket)?;
            for byte in everything {
                if !going() {
                    break;
                }
                stream.write_all(&[*byte])?;
                // Stops within the second when it is to.
                for _ in 0..20 {
                    if going() {
                        thread::sleep(Duration::from_millis(50));
                    }
                }
            }
        }
        Kind::OpensAndLeaves => {
            while going() {
                drop(UnixStream::connect(socket)?);
                thread::sleep(Duration::from_millis(1));
            }
        }
        Kind::AsksForEverything => {
            let mut stream = UnixStream::connect(socket)?;
            let mut buffer = vec![0; 1 << 20];
            while going() {
                stream.write_all(everything)?;
                loop {
                    let read = stream.read(&mut buffer)?;
                    if read == 0 || buffer[read - 1] == 0 {
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}
