//! Which observer sees short-lived nested cgroups: cgtrace, a recursive inotify watcher, a loop that polls
//! every 10 ms.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::{
    inotify::{Recursive, polled},
    load::{self, Scope},
    report::Report,
    service::Daemon,
};

const ROUNDS: usize = 3_000;

/// a, a/b, a/b/c created and removed at once, with different names in each round.
fn rounds(scope: &Path) -> Result<HashSet<PathBuf>> {
    let mut created = HashSet::new();
    for round in 0..ROUNDS {
        let a = scope.join(format!("a{round}"));
        let b = a.join("b");
        let c = b.join("c");
        for path in [&a, &b, &c] {
            fs::create_dir(path)?;
        }
        for path in [&c, &b, &a] {
            fs::remove_dir(path)?;
        }
        created.extend([a, b, c]);
    }
    Ok(created)
}

/// Runs the same rounds with each observer.
pub fn measure(report: &mut Report) -> Result<()> {
    let Some(mount) = load::unified() else {
        report.not_measured("short-lived nested cgroups", "no cgroup v2 is mounted");
        return Ok(());
    };
    let scope = Scope::new(&mount, "seen")?;

    let ours = by_cgtrace(&scope, &mount)?;
    let watcher = Recursive::start(scope.path())?;
    let created = rounds(scope.path())?;
    let inotify = watcher.stop()?;
    let stop = Arc::new(AtomicBool::new(false));
    let poller = thread::spawn({
        let (root, stop) = (scope.path().to_owned(), Arc::clone(&stop));
        move || polled(&root, &stop)
    });
    rounds(scope.path())?;
    stop.store(true, Ordering::Relaxed);
    let polling = poller.join().map_err(|_| anyhow!("the poller panicked"))?;

    for (name, seen) in
        [("cgtrace", ours), ("a recursive inotify watcher", inotify), ("looking every 10 ms", polling)]
    {
        let share = created.intersection(&seen).count() as f64 / created.len() as f64 * 100.0;
        report.figure(
            format!("short-lived nested cgroups seen by {name}"),
            format!("{share:.1} % of {}", created.len()),
            if name == "cgtrace" { "goal: 100 %" } else { "" },
        );
    }
    Ok(())
}

fn by_cgtrace(scope: &Scope, mount: &Path) -> Result<HashSet<PathBuf>> {
    let daemon = Daemon::start()?;
    let pattern = format!("/{}", scope.path().strip_prefix(mount)?.display());
    let mut connection = daemon.connect()?;
    connection.send("Watch", &json!({"patterns": [pattern], "kinds": ["mkdir", "rmdir"]}), true)?;
    connection.receive()?;
    let mount = mount.to_owned();
    let reading = thread::spawn(move || -> Result<HashSet<PathBuf>> {
        let mut seen = HashSet::new();
        let mut events = 0;
        while events < ROUNDS * 6 {
            let reply = connection.receive()?;
            if let Some(missed) = reply["dropped"].as_u64() {
                events += usize::try_from(missed)?;
            }
            if let Some(path) = reply["event"]["path"].as_str() {
                seen.insert(mount.join(path.trim_start_matches('/')));
                events += 1;
            }
        }
        Ok(seen)
    });
    rounds(scope.path())?;
    reading.join().map_err(|_| anyhow!("the reader panicked"))?
}
