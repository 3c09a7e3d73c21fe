//! Clients that query, wait and follow while the daemon is stopped, killed and started.

use std::{
    fs,
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use cgtrace_client::{CgroupState, Client, Error, StreamItem, wire};

use super::{
    churn,
    stage::{Random, Stage},
    support::cgroup::Cgroup,
};

/// After this time a reply counts as missing: the daemon is never stopped for longer than two seconds.
const PATIENCE: Duration = Duration::from_secs(90);

/// A connection, once the daemon runs; `None` at the end.
fn connect(stage: &Stage, patience: Duration) -> Option<Client> {
    while !stage.ends() {
        if let Ok(stream) = UnixStream::connect(stage.runtime_dir.private())
            && stream.set_read_timeout(Some(patience)).is_ok()
        {
            return Some(Client::from_stream(stream));
        }
        thread::sleep(Duration::from_millis(20));
    }
    None
}

/// Whether the read timed out.
fn unanswered(error: &Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error, Error::Io(error) if matches!(error.kind(), WouldBlock | TimedOut))
}

/// Waits for cgroups that are created and removed. Each wait must succeed, unless the daemon ends meanwhile.
pub fn wait(stage: &Stage, scope: &Cgroup, seed: u64) -> Result<()> {
    let mut random = Random(seed);
    while !stage.ends() {
        let path = scope.join(format!("w{}", random.below(50)));
        let pause = Duration::from_millis(random.below(60));
        wait_for(stage, scope, &path, CgroupState::Present, pause, |path| fs::create_dir(path))?;
        wait_for(stage, scope, &path, CgroupState::Absent, pause, |path| fs::remove_dir(path))?;
    }
    Ok(())
}

fn wait_for(
    stage: &Stage,
    scope: &Cgroup,
    path: &Path,
    until: CgroupState,
    pause: Duration,
    change: impl FnOnce(&Path) -> std::io::Result<()> + Send,
) -> Result<()> {
    let Some(mut client) = connect(stage, PATIENCE) else {
        // Restores the original state at the end.
        let _ = change(path);
        return Ok(());
    };
    let name = scope.name_of(path);
    thread::scope(|threads| {
        let changing = threads.spawn(move || {
            thread::sleep(pause);
            change(path)
        });
        match client.wait(&name, until, Some(PATIENCE / 2)) {
            Ok(waited) if waited.reached => stage.counts.waits_reached.add(1),
            Ok(_) => stage.fail(format!("{name} until {}: timed out", until.as_str())),
            Err(error) if unanswered(&error) => {
                stage.fail(format!("{name} until {}: no answer", until.as_str()));
            }
            Err(_) => stage.counts.waits_cut.add(1),
        }
        changing.join().map_err(|_| anyhow::anyhow!("a change panicked"))?.context("a change failed")
    })
}

/// Makes one query after another.
pub fn ask(stage: &Stage, scopes: &[(&str, &Cgroup)], seed: u64) {
    let mut random = Random(seed);
    while let Some(mut client) = connect(stage, PATIENCE) {
        while !stage.ends() {
            let Some((hierarchy, scope)) = random.of(scopes) else { return };
            let answer = match random.below(10) {
                0 => client.status().map(drop),
                1 => client
                    .list(&wire::List { patterns: Some(vec![scope.name()]), ..wire::List::default() })
                    .and_then(|listed| listed.collect::<Result<Vec<_>, _>>().map(drop)),
                _ => client
                    .lookup_with(&wire::Lookup {
                        paths: vec![format!("{}/n{}", scope.name(), random.below(churn::NAMES))],
                        hierarchy: Some((*hierarchy).to_owned()),
                        ..wire::Lookup::default()
                    })
                    .map(drop),
            };
            match answer {
                Ok(()) => stage.counts.queries.add(1),
                Err(error) if unanswered(&error) => {
                    stage.fail("a query was not answered".to_owned());
                    break;
                }
                // The daemon ended.
                Err(_) => break,
            }
            thread::sleep(Duration::from_millis(random.below(20)));
        }
    }
}

/// Follows; `pause` after each event makes a slow client. Events must arrive in order, and each number once.
pub fn follow(stage: &Stage, scopes: &[(&str, &Cgroup)], pause: Duration) {
    let watch = wire::Watch {
        patterns: Some(scopes.iter().map(|(_, scope)| scope.name()).collect()),
        ..wire::Watch::default()
    };
    let mut last_received = Instant::now();
    while let Some(client) = connect(stage, Duration::from_secs(2)) {
        let Ok(watching) = client.watch(&watch) else { continue };
        let mut last = 0;
        for item in watching {
            match item {
                Ok(StreamItem::Started { seq }) => last = seq,
                Ok(StreamItem::Event(event)) => {
                    if event.seq <= last {
                        stage.fail(format!("event {} arrived after {last}", event.seq));
                    }
                    last = event.seq;
                    stage.counts.events.add(1);
                    thread::sleep(pause);
                }
                Ok(StreamItem::Existing(_)) => {}
                Ok(StreamItem::Gap(gap)) => stage.fail(format!("a gap without `since_seq`: {gap}")),
                Ok(StreamItem::Dropped(dropped)) => stage.counts.dropped.add(dropped),
                Err(_) => break,
            }
            last_received = Instant::now();
            if stage.ends() {
                return;
            }
        }
        if last_received.elapsed() > PATIENCE && !stage.ends() {
            stage.fail("a follower receives nothing".to_owned());
            last_received = Instant::now();
        }
    }
}
