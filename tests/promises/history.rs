//! The history: what is over is still known, and what is not known is a gap.

mod export;
mod log;
mod past;
mod replay;
mod restart;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;

use crate::support::{Outcome, daemon::Daemon};

pub fn trials() -> Vec<Trial> {
    [replay::trials(), restart::trials(), log::trials(), past::trials(), export::trials()]
        .into_iter()
        .flatten()
        .collect()
}

/// Creates and removes a cgroup.
fn pair(path: &Path) -> Outcome {
    fs::create_dir(path)?;
    Ok(fs::remove_dir(path)?)
}

/// The whole log of a call.
fn log_of(daemon: &Daemon, log: &wire::Log) -> Result<Vec<wire::LogItem>> {
    Ok(daemon.client()?.log(log)?.collect::<Result<_, _>>()?)
}

/// The events of a log without gaps of users above their share, which other tests may cause.
fn events_of(daemon: &Daemon, log: &wire::Log) -> Result<Vec<wire::Event>> {
    let mut events = Vec::new();
    for wire::LogItem { event, gap, .. } in log_of(daemon, log)? {
        events.extend(event);
        ensure!(gap.as_ref().is_none_or(|gap| ["quota", "retention"].contains(&&*gap.reason)), "{gap:?}");
    }
    Ok(events)
}

/// Creates and removes cgroups until events after a number are no longer stored.
fn outlive(daemon: &Daemon, since_seq: u64, mut pair: impl FnMut() -> Outcome) -> Outcome {
    let start = Instant::now();
    let first = wire::Log { since_seq: Some(since_seq), max: Some(1), ..wire::Log::default() };
    loop {
        for _ in 0..500 {
            pair()?;
        }
        let items = log_of(daemon, &first)?;
        if items[0].gap.as_ref().is_some_and(|gap| gap.reason == "retention") {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_mins(2), "it is still stored: {items:?}");
    }
}
