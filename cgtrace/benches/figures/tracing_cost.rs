//! The cost of tracing for mkdir+rmdir: the same loop untraced, with cgtrace, and with each peer.

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::Result;

use crate::{
    floor::Empty,
    load,
    peers::{self, Peer},
    report::{Ratio, Report, Row},
    service::Daemon,
    statistics::Series,
};

const ROUNDS: usize = 11;

/// The peers take seconds to start, and are measured in the first rounds only.
const PEER_ROUNDS: usize = 5;

const PAIRS: u32 = 4_000;

/// One mode of tracing, restarted for every round so that the rounds interleave.
enum Mode {
    Untraced,
    Empty,
    Daemon,
    DaemonAndSubscriber,
    OnDiskAndSubscriber,
    Bpftrace,
    Perf,
    Ftrace,
}

const MODES: [(Mode, &str, Option<f64>); 8] = [
    (Mode::Untraced, "untraced", None),
    (Mode::Empty, "programs that do nothing on mkdir and rmdir", None),
    (Mode::Daemon, "cgtrace, no listener", Some(1.03)),
    (Mode::DaemonAndSubscriber, "cgtrace, one JSON subscriber", Some(1.10)),
    (Mode::OnDiskAndSubscriber, "cgtrace with its history on disk, one JSON subscriber", Some(1.10)),
    (Mode::Bpftrace, "bpftrace", None),
    (Mode::Perf, "perf record", None),
    (Mode::Ftrace, "ftrace, read by cat", None),
];

/// What keeps a mode active.
#[expect(dead_code, reason = "held for what their drop does")]
enum Running {
    Nothing,
    Empty([Empty; 2]),
    Daemon(Daemon),
    Subscribed(Follower, Daemon),
    Peer(Peer),
}

struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(mode: &Mode, folder: &std::path::Path) -> Result<Running> {
    Ok(match mode {
        Mode::Untraced => Running::Nothing,
        Mode::Empty => Running::Empty([Empty::attach("cgroup_mkdir")?, Empty::attach("cgroup_rmdir")?]),
        Mode::Daemon => Running::Daemon(Daemon::start()?),
        Mode::DaemonAndSubscriber => subscribed(Daemon::start()?)?,
        Mode::OnDiskAndSubscriber => {
            let store = folder.join("history");
            subscribed(Daemon::start_with(&["--history", &store.to_string_lossy()])?)?
        }
        Mode::Bpftrace => Running::Peer(peers::bpftrace(folder)?),
        Mode::Perf => Running::Peer(peers::perf(folder)?),
        Mode::Ftrace => Running::Peer(peers::ftrace()?),
    })
}

fn subscribed(daemon: Daemon) -> Result<Running> {
    let follower = Command::new(env!("CARGO_BIN_EXE_cgtrace"))
        .arg("--socket")
        .arg(daemon.socket())
        .args(["--json", "events", "--all"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    thread::sleep(Duration::from_millis(200));
    Ok(Running::Subscribed(Follower(follower), daemon))
}

/// Measures mkdir+rmdir pairs at the top of the scope and in a nest.
pub fn measure(report: &mut Report, depth: usize) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("mkdir+rmdir", "no cgroup v2 is mounted");
        return Ok(());
    };
    let scope = load::Scope::new(&mount, "cost")?;
    let place = load::nest(scope.path(), depth)?;
    let pairs = if depth > 10 { PAIRS / 10 } else { PAIRS };
    // Not in /tmp, which may be in memory.
    let folder = tempfile::tempdir_in(".")?;
    let _tracefs = peers::Tracefs::mounted();
    let mut series: Vec<Series> = MODES.iter().map(|_| Series::default()).collect();
    let mut ratios = series.clone();
    let mut why_not: Vec<Option<String>> = MODES.iter().map(|_| None).collect();
    let rounds = if depth > 10 { PEER_ROUNDS } else { ROUNDS };
    // Each mode is compared with the untraced loop just before and after it, because the machine's speed
    // drifts.
    load::pairs(&place, pairs)?;
    let mut before = load::pairs(&place, pairs)?;
    for round in 0..rounds {
        for (index, (mode, _, _)) in MODES.iter().enumerate() {
            let peer = matches!(mode, Mode::Bpftrace | Mode::Perf | Mode::Ftrace);
            if why_not[index].is_some() || peer && round >= PEER_ROUNDS {
                continue;
            }
            let running = match start(mode, folder.path()) {
                Ok(running) => running,
                Err(error) => {
                    why_not[index] = Some(format!("{error:#}"));
                    continue;
                }
            };
            let traced = load::pairs(&place, pairs)?;
            drop(running);
            let after = load::pairs(&place, pairs)?;
            series[index].push(traced);
            ratios[index].push(traced / f64::midpoint(before, after));
            before = after;
        }
    }
    let place = format!("depth {}", depth + 2);
    for (index, (mode, name, goal)) in MODES.iter().enumerate() {
        let chance = if matches!(mode, Mode::Untraced) { " (and what chance does to the ratio)" } else { "" };
        let what = format!("mkdir+rmdir at {place}, {name}{chance}");
        if let Some(why) = &why_not[index] {
            report.not_measured(what, why);
            continue;
        }
        report.row(Row {
            what,
            figure: format!("{:.1} µs per pair", series[index].median()),
            ratio: Some(Ratio::of(&ratios[index], if depth > 10 { None } else { *goal })),
            note: format!("{} rounds of {pairs} pairs", series[index].len()),
        });
    }
    let ours = MODES.iter().position(|(mode, _, _)| matches!(mode, Mode::OnDiskAndSubscriber));
    for (index, (mode, name, _)) in MODES.iter().enumerate() {
        let Some(ours) = ours else { break };
        if !matches!(mode, Mode::Bpftrace | Mode::Perf | Mode::Ftrace) || why_not[index].is_some() {
            continue;
        }
        let name = format!("{place}: {} over {name}", MODES[ours].1);
        report.row(of_medians(name, &ratios[ours], &ratios[index]));
    }
    Ok(())
}

/// Our cost over a peer's, each as a multiple of the untraced loop.
fn of_medians(what: String, ours: &Series, peer: &Series) -> Row {
    let (ours, peer) = (ours.median(), peer.median());
    let ratio = ours / peer;
    Row {
        what,
        figure: format!("{ours:.3} × untraced; {peer:.3} × untraced"),
        ratio: Some(Ratio { median: ratio, low: ratio, high: ratio, goal: Some(1.0) }),
        note: "of the two medians".to_owned(),
    }
}
