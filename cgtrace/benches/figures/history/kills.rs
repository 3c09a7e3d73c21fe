//! kill -9 while it writes: the history opens, and holds every committed event.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use serde_json::json;

use super::Stored;
use crate::{load, report::Report, service::Daemon};

const KILLS: u64 = 200;

pub fn measure(report: &mut Report, mount: &Path) -> Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    let store = folder.path().join("history");
    let scope = load::Scope::new(mount, "kills")?;
    let below = format!("/{}/", scope.path().strip_prefix(mount)?.display());
    let (stop, made) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut checked = 0;
    thread::scope(|threads| -> Result<()> {
        let churning = threads.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                let path = scope.path().join(made.load(Ordering::Relaxed).to_string());
                fs::create_dir(&path)?;
                fs::remove_dir(&path)?;
                made.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let outcome = (|| -> Result<()> {
            let mut committed = 0;
            for round in 0..KILLS {
                let daemon =
                    Daemon::start_with(&["--history", &store.to_string_lossy(), "--history-size", "64"])?;
                // What was committed before is answered, and numbers go on.
                let mut connection = daemon.connect()?;
                let status = connection.call("Status", &json!({}))?;
                let seq = status["seq"].as_u64().unwrap_or_default();
                ensure!(
                    seq >= committed,
                    "round {round}: {committed} was committed, and numbers begin at {seq}"
                );
                // At a time that no commit's timer divides.
                thread::sleep(Duration::from_micros(20_000 + round * 7_919 % 900_000));
                // Committed by then, and read from the file by another process.
                committed = committed_seq(&store).unwrap_or(committed);
                daemon.kill()?;
                let stored = Stored::below(&store, below.as_bytes())?;
                let last = stored.events.last().map_or(0, |(seq, ..)| *seq);
                ensure!(
                    last >= committed,
                    "round {round}: {committed} was committed, {last} is the last one stored"
                );
                ensure!(
                    stored.events.windows(2).all(|pair| pair[0].0 < pair[1].0),
                    "round {round}: a number is stored twice"
                );
                checked = stored.events.len();
            }
            Ok(())
        })();
        stop.store(true, Ordering::Relaxed);
        churning.join().map_err(|_| anyhow!("the churn panicked"))??;
        outcome
    })?;
    // The present is right after the last one, too.
    let daemon = Daemon::start_with(&["--history", &store.to_string_lossy(), "--history-size", "64"])?;
    let verified = daemon.connect()?.call("Verify", &json!({}))?;
    ensure!(verified["equal"] == true, "{verified}");
    report.figure(
        format!("history: kill -9 under load, {KILLS} times"),
        format!("every committed event is stored ({checked} events in the end)"),
        "goal: the store opens, and the next daemon's answers are right: met",
    );
    Ok(())
}

/// The last committed number, read from the newest segment while the daemon writes.
fn committed_seq(store: &Path) -> Option<u64> {
    let newest = fs::read_dir(store).ok()?.filter_map(|file| {
        let path = file.ok()?.path();
        (path.extension()? == "db").then_some(path)
    });
    let newest = newest.max()?;
    let connection =
        rusqlite::Connection::open_with_flags(newest, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let last: Option<i64> = connection.query_row("select max(seq) from event", [], |row| row.get(0)).ok()?;
    last.map(i64::cast_unsigned)
}
