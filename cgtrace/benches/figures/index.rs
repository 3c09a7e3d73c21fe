//! The cost of the index: initial scan, memory, and idle wakeups.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    load::{self, Scope},
    report::{Ratio, Report, Row},
    service::Daemon,
    statistics::Series,
};

/// Duration in ms of a bare traversal: open, getdents and close of every directory. With `spare_leaves`, a
/// directory whose link count shows no subdirectories is not opened, as in find(1).
fn bare_traversal(root: &Path, spare_leaves: bool) -> Result<f64> {
    let start = Instant::now();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && !(spare_leaves && entry.metadata()?.nlink() == 2) {
                pending.push(entry.path());
            }
        }
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

const ROUNDS: usize = 5;

/// Ms from exec to the first reply without our cgroups, and the memory then.
fn as_it_is() -> Result<(Series, u64)> {
    let mut empty = Series::default();
    let mut memory = 0;
    for _ in 0..2 * ROUNDS {
        let daemon = Daemon::start()?;
        empty.push(daemon.ready_after.as_secs_f64() * 1e3);
        memory = daemon.memory()?;
    }
    Ok((empty, memory))
}

/// The first index of 1 k, 10 k and 100 k cgroups against a bare traversal of the same tree, and its memory.
pub fn first(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("first index", "no cgroup v2 is mounted");
        return Ok(());
    };
    // The first start reads the program and the kernel's BTF from disk.
    drop(Daemon::start()?);
    let (empty, base_memory) = as_it_is()?;
    report.figure(
        "first answer on this machine as it is",
        format!("{:.0} ms after exec", empty.median()),
        "loading and attaching the kernel program, mostly",
    );
    for count in [1_000, 10_000, 100_000] {
        // The machine's speed drifts: measure the base in the same minute.
        let (empty, _) = as_it_is()?;
        let scope = Scope::new(&mount, "index")?;
        load::populate(scope.path(), count)?;
        let (mut ours, mut bare, mut sparing) = (Series::default(), Series::default(), Series::default());
        let mut memory = 0;
        for _ in 0..ROUNDS {
            let daemon = Daemon::start()?;
            ours.push((daemon.ready_after.as_secs_f64() * 1e3 - empty.median()).max(0.0));
            memory = daemon.memory()?;
            drop(daemon);
            bare.push(bare_traversal(&mount, false)?);
            sparing.push(bare_traversal(&mount, true)?);
        }
        for (traversal, name, goal) in [
            (&bare, "a bare traversal", Some(1.5)),
            (&sparing, "a traversal that does not open leaves", None),
        ] {
            report.row(Row {
                what: format!("first index of {count} cgroups against {name}"),
                figure: format!("{:.1} ms; traversal {:.1} ms", ours.median(), traversal.median()),
                ratio: Some(Ratio::of(&ours.ratios(traversal), goal)),
                note: "the difference to a start without our cgroups".to_owned(),
            });
        }
        if count == 100_000 {
            let each = memory.saturating_sub(base_memory) as f64 / count as f64;
            report.row(Row {
                what: "memory of 100,000 cgroups".to_owned(),
                figure: format!(
                    "{each:.0} bytes per cgroup over a base of {:.1} MB",
                    base_memory as f64 / 1e6
                ),
                ratio: Some(Ratio {
                    median: each / 200.0,
                    low: each / 200.0,
                    high: each / 200.0,
                    goal: Some(1.0),
                }),
                note: format!(
                    "anonymous memory, of the goal of 200 bytes; base of 10 MB at most: {}",
                    if base_memory <= 10_000_000 { "met" } else { "**missed**" }
                ),
            });
        }
    }
    Ok(())
}

/// Context switches of an idle daemon over ten seconds.
pub fn idle(report: &mut Report) -> Result<()> {
    const SECONDS: u64 = 10;
    let daemon = Daemon::start()?;
    // The threads of the initial scan end within this time.
    thread::sleep(Duration::from_secs(3));
    let before = daemon.switches()?;
    thread::sleep(Duration::from_secs(SECONDS));
    let after = daemon.switches()?;
    // A thread started meanwhile counts from its start, one that ended as one wakeup.
    let begun: u64 = after
        .iter()
        .map(|(thread, switches)| switches - before.get(thread).copied().unwrap_or_default())
        .sum();
    let ended = before.keys().filter(|thread| !after.contains_key(*thread)).count() as u64;
    let a_second = (begun + ended) as f64 / SECONDS as f64;
    report.row(Row {
        what: "idle".to_owned(),
        figure: format!("{a_second:.1} wakeups per second"),
        ratio: None,
        note: format!("goal: 0, {}; {SECONDS} s", if begun + ended == 0 { "met" } else { "**missed**" }),
    });
    Ok(())
}
