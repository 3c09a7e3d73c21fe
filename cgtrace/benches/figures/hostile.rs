//! The cost of one stuck or hostile client to another: the other's Lookups with and without it, alternating.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use serde_json::json;

use crate::{
    load::{self, Scope},
    placement::{Placed, Placement},
    report::{Ratio, Report, Row},
    service::Daemon,
    statistics::Series,
};

/// Many and short, so that both are measured close together, under the same conditions.
const ROUNDS: usize = 60;

/// The other client's Lookups per second: more than any program makes that queries before it acts.
const RATE: u32 = 1_000;

const CALLS: u32 = 100;

/// Cgroups for a client that lists all of them.
const CGROUPS: usize = 2_000;

/// Events for a client that follows from the oldest one: as many as are stored by default.
const EVENTS: u32 = 8_192;

#[derive(Clone, Copy)]
enum Kind {
    NeverReads,
    OneByteASecond,
    OpensAndLeaves,
    FollowsFromTheOldest,
    /// Repeats one call.
    Repeats(fn() -> serde_json::Value),
}

/// Each with its maximum cost. The last ones run mostly on other threads of the service, which are bound to
/// the same CPU here.
const KINDS: [(Kind, &str, Option<f64>); 7] = [
    (Kind::NeverReads, "asks and never reads", GOAL),
    (Kind::OneByteASecond, "sends one byte a second", GOAL),
    (Kind::OpensAndLeaves, "opens and leaves, 1,000 times a second", GOAL),
    (Kind::Repeats(everything), "asks for everything, again and again", GOAL),
    (Kind::FollowsFromTheOldest, "follows from the oldest event on, again and again", GOAL),
    (Kind::Repeats(metrics), "asks for the metrics, again and again", None),
    (Kind::Repeats(patterns), "asks with a thousand patterns, again and again", None),
];

const GOAL: Option<f64> = Some(1.05);

fn everything() -> serde_json::Value {
    json!({"method": "io.cgtrace.List"})
}

fn metrics() -> serde_json::Value {
    json!({"method": "io.cgtrace.Metrics"})
}

fn patterns() -> serde_json::Value {
    let patterns: Vec<String> =
        (0..1_000).map(|number| format!("/*a{number}*/[a-z]*{{b,c{number}}}*/**")).collect();
    json!({"method": "io.cgtrace.List", "parameters": {"patterns": patterns}})
}

pub fn measure(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("hostile clients", "no cgroup v2 is mounted");
        return Ok(());
    };
    let scope = Scope::new(&mount, "hostile")?;
    load::populate(scope.path(), CGROUPS)?;
    let daemon = Daemon::start()?;
    let mut client = daemon.connect()?;
    // The service has its own CPU, and the two clients share another: what they take from each other is no
    // cost of the service.
    let placed = Placed::place(Placement::Apart, &[daemon.pid()])?;
    let place = if placed.is_some() { "the service on a CPU of its own" } else { "all on one CPU" };
    client.lookups_at(RATE, CALLS)?;
    load::pairs(scope.path(), EVENTS / 2)?;
    for (kind, name, goal) in KINDS {
        let (mut without, mut with) = (Series::new(), Series::new());
        let (mut all_without, mut all_with) = (Series::new(), Series::new());
        for round in 0..ROUNDS {
            // Reversed in every second round, so that drift affects both alike.
            for beside in [round % 2 == 1, round % 2 == 0] {
                let hostile = beside.then(|| Hostile::start(kind, daemon.public_socket())).transpose()?;
                // Until it is active.
                thread::sleep(Duration::from_millis(100));
                let times = client.lookups_at(RATE, CALLS)?;
                let (medians, all) =
                    if beside { (&mut with, &mut all_with) } else { (&mut without, &mut all_without) };
                medians.push(times.median());
                all.extend(&times);
                if let Some(hostile) = hostile {
                    hostile.stop();
                }
            }
        }
        let figures = |all: &Series| {
            format!("p50 {:.1} µs, mean {:.1} µs, p99 {:.1} µs", all.median(), all.mean(), all.quantile(0.99))
        };
        report.row(Row {
            what: format!("one client's Lookups beside another that {name}"),
            figure: format!("{}; alone {}", figures(&all_with), figures(&all_without)),
            ratio: Some(Ratio::of(&with.ratios(&without), goal)),
            note: format!("{place}; {RATE} calls a second, {ROUNDS} rounds of {CALLS}"),
        });
    }
    Ok(())
}

/// The misbehaving client, on a separate thread: the CPU time that it takes from the other client is no cost
/// of the service.
struct Hostile {
    stop: Sender<()>,
    stream: UnixStream,
    thread: JoinHandle<()>,
}

impl Hostile {
    fn start(kind: Kind, socket: PathBuf) -> Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let stream = UnixStream::connect(&socket)?;
        let thread = thread::spawn({
            let stream = stream.try_clone()?;
            // The service may end it early.
            move || drop(attack(kind, &socket, stream, &stopped))
        });
        Ok(Self { stop, stream, thread })
    }

    fn stop(self) {
        let _ = self.stop.send(());
        // Wakes up a blocked reader or writer.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.thread.join();
    }
}

fn attack(kind: Kind, socket: &PathBuf, mut stream: UnixStream, stopped: &Receiver<()>) -> Result<()> {
    let goes_on_after = |pause: Duration| stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout);
    let message = |call: serde_json::Value| [call.to_string().as_bytes(), b"\0"].concat();
    match kind {
        Kind::NeverReads => {
            let call = message(everything());
            loop {
                stream.write_all(&call)?;
            }
        }
        Kind::OneByteASecond => {
            for byte in message(everything()) {
                stream.write_all(&[byte])?;
                if !goes_on_after(Duration::from_secs(1)) {
                    break;
                }
            }
        }
        Kind::OpensAndLeaves => {
            while goes_on_after(Duration::from_millis(1)) {
                drop(UnixStream::connect(socket)?);
            }
        }
        Kind::Repeats(call) => {
            let call = message(call());
            let mut buffer = vec![0; 1 << 20];
            loop {
                stream.write_all(&call)?;
                loop {
                    let read = stream.read(&mut buffer)?;
                    if read == 0 {
                        return Ok(());
                    }
                    if buffer[read - 1] == 0 {
                        break;
                    }
                }
            }
        }
        Kind::FollowsFromTheOldest => {
            let mut buffer = vec![0; 1 << 20];
            while goes_on_after(Duration::ZERO) {
                let mut stream = UnixStream::connect(socket)?;
                stream.set_read_timeout(Some(Duration::from_millis(100)))?;
                stream.write_all(
                    b"{\"method\":\"io.cgtrace.Watch\",\"parameters\":{\"since_seq\":0},\"more\":true}\0",
                )?;
                let mut replies = 0;
                // The service's pauses exceed the time limit for stopping it.
                while replies < EVENTS as usize {
                    match stream.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(read) => replies += buffer[..read].split(|byte| *byte == 0).count() - 1,
                        Err(_) if goes_on_after(Duration::ZERO) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
    Ok(())
}
