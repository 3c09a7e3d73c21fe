//! The history: what is stored at the kernel's own top rate, what it costs, and how fast the past is found.

mod compare;
mod kills;
mod past;
mod rate;

use std::path::Path;

use anyhow::{Context as _, Result};
use cgtrace_history::{Archive, EventQuery, Item};

use crate::{
    load,
    report::{Ratio, Report, Row},
};

pub fn measure(report: &mut Report) -> Result<()> {
    type Part = (&'static str, fn(&mut Report, &Path) -> Result<()>);
    let mount = load::unified().context("no cgroup v2 is mounted")?;
    let parts: [Part; 4] = [
        ("the top rate", rate::measure),
        ("kills", kills::measure),
        ("1 million events", compare::measure),
        ("the past", past::measure),
    ];
    for (name, part) in parts {
        if let Err(error) = part(report, &mount) {
            report.not_measured(format!("history: {name}"), format!("{error:#}"));
        }
    }
    Ok(())
}

/// What a folder holds of the events below a path: the stored ones, in order, and how many are in gaps.
struct Stored {
    events: Vec<(u64, &'static str, Vec<u8>)>,
    in_gaps: u64,
    /// Gaps of unknown size.
    unknown: usize,
}

impl Stored {
    fn below(folder: &Path, path: &[u8]) -> Result<Self> {
        let mut archive = Archive::open(folder)?;
        let mut reader = archive.reader();
        let mut query = EventQuery { max_rows: 100_000, max_bytes: 64 << 20, ..EventQuery::default() };
        let mut stored = Self { events: Vec::new(), in_gaps: 0, unknown: 0 };
        loop {
            let page = reader.events(&query, &mut |event| {
                let of_cgroup = event.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref());
                of_cgroup.is_some_and(|of_event| of_event.starts_with(path))
            })?;
            for item in page.items {
                match item {
                    Item::Event(event) => {
                        let path = event.cgroup.and_then(|cgroup| cgroup.path).unwrap_or_default();
                        stored.events.push((event.seq, event.kind.as_str(), path));
                    }
                    Item::Gap(gap) => match gap.events {
                        Some(events) => stored.in_gaps += events,
                        None => stored.unknown += 1,
                    },
                }
            }
            query.resumed = true;
            match page.next {
                Some(next) => query.after_seq = next,
                None => return Ok(stored),
            }
        }
    }
}

/// The bytes of a folder's files.
fn bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder)? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}

/// A figure that must not exceed a limit.
fn at_most(what: impl Into<String>, figure: impl Into<String>, value: f64, limit: f64, note: &str) -> Row {
    let ratio = value / limit;
    Row {
        what: what.into(),
        figure: figure.into(),
        ratio: Some(Ratio { median: ratio, low: ratio, high: ratio, goal: Some(1.0) }),
        note: note.to_owned(),
    }
}
