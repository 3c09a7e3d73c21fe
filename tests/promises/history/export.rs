//! `export` of a running daemon's history.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rusqlite::Connection;

use super::pair;
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::the_files_of_the_running_daemon_are_exported", files),
        trial("history::without_files_no_database_is_exported", memory),
    ]
}

/// The numbers and kinds of the events below a cgroup in a database.
fn events_in(database: &Path, cgroup: &Cgroup) -> Result<Vec<(i64, String)>> {
    let on = Connection::open(database)?;
    let mut events = on.prepare("select seq, kind from events where path glob ?1 order by seq")?;
    let events = events.query_map([format!("{}/*", cgroup.name())], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(events.collect::<Result<_, _>>()?)
}

fn files() -> Outcome {
    let folder = tempfile::tempdir()?;
    let history = folder.path().join("history");
    let daemon = Daemon::start_with(&["--history", history.to_str().context("a temporary path")?])?;
    let cgroup = Cgroup::new(any(), "export")?;
    for number in 0..100 {
        pair(&cgroup.join(number.to_string()))?;
    }
    let path = folder.path().join("all.db");
    let start = Instant::now();
    // The first commit makes the first file.
    while daemon.client()?.status()?.history.stored == 0 {
        ensure!(start.elapsed() < Duration::from_secs(30), "nothing is stored");
        thread::sleep(Duration::from_millis(10));
    }
    loop {
        let output = daemon.command().args(["export", "--format", "sqlite", "-o"]).arg(&path).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let events = events_in(&path, &cgroup)?;
        if events.len() == 200 {
            let kinds: Vec<&str> = events.iter().map(|(_, kind)| &**kind).collect();
            ensure!(kinds == ["mkdir", "rmdir"].repeat(100), "{kinds:?}");
            return Ok(());
        }
        // Those of the last second may not be committed.
        ensure!(start.elapsed() < Duration::from_secs(30), "only {} events: {events:?}", events.len());
        fs::remove_file(&path)?;
    }
}

fn memory() -> Outcome {
    let daemon = Daemon::start()?;
    let output = daemon.command().args(["export", "--format", "sqlite", "-o", "/no/such/file"]).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{}", output.status);
    ensure!(stderr.contains("in memory") && stderr.contains("--history DIR"), "{stderr}");
    Ok(())
}
