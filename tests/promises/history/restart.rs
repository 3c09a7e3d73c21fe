//! A history in a folder survives restarts: numbers go on, what is stored is served, and the rest is a gap.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::{StreamItem, wire};
use libtest_mimic::Trial;
use rustix::process::Signal;

use super::pair;
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, id, unique},
    daemon::Daemon,
    events::Follower,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::a_stopped_daemon_is_a_gap_and_numbers_go_on", stopped),
        trial("history::a_killed_daemon_is_a_gap_and_no_number_is_used_twice", killed),
        trial("history::a_previous_instance_from_before_a_restart_is_found", previous),
        trial("history::in_memory_numbers_are_not_used_twice", in_memory),
    ]
}

/// A daemon that keeps its history in a folder.
fn start(folder: &Path) -> Result<Daemon> {
    Daemon::start_with(&["--history", folder.to_str().context("a temporary path")?])
}

/// Ends it as a crash does.
fn kill(mut daemon: Daemon) -> Outcome {
    daemon.signal(Signal::KILL)?;
    daemon.wait_exit()?;
    Ok(())
}

/// Stops it as a service manager does.
fn stop(mut daemon: Daemon) -> Outcome {
    daemon.signal(Signal::TERM)?;
    let status = daemon.wait_exit()?;
    ensure!(status.success(), "after SIGTERM: {status}");
    Ok(())
}

fn watch(cgroup: &Cgroup, since_seq: u64) -> wire::Watch {
    wire::Watch {
        patterns: Some(vec![cgroup.name()]),
        kinds: Some(["mkdir", "rmdir"].map(str::to_owned).into()),
        since_seq: Some(since_seq),
        ..wire::Watch::default()
    }
}

/// Every event and gap after a number up to now, without those of this function's marks.
fn replay(daemon: &Daemon, cgroup: &Cgroup, since_seq: u64) -> Result<(Vec<wire::Event>, Vec<wire::Gap>)> {
    let mut follower = Follower::start(daemon, &watch(cgroup, since_seq))?;
    let (mark, marks) = (cgroup.join(unique("mark")), cgroup.name_of(&cgroup.join("cgtrace-test-mark-")));
    pair(&mark)?;
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match follower.next_item()? {
            StreamItem::Event(event) if event.path == Some(cgroup.name_of(&mark)) => {
                return Ok((events, gaps));
            }
            StreamItem::Event(event) if event.path.as_ref().is_some_and(|path| path.starts_with(&*marks)) => {
            }
            StreamItem::Event(event) => events.push(*event),
            // Other tests cause it.
            StreamItem::Gap(gap) if gap.reason == "quota" => {}
            StreamItem::Gap(gap) => gaps.push(gap),
            other => bail!("{other:?}"),
        }
    }
}

fn stopped() -> Outcome {
    let folder = tempfile::tempdir()?;
    let cgroup = Cgroup::new(any(), "history-stopped")?;
    let daemon = start(folder.path())?;
    let since = daemon.client()?.status()?.seq;
    let mut expected = Vec::new();
    for number in 0..50 {
        let path = cgroup.join(format!("before-{number}"));
        pair(&path)?;
        expected.extend(["mkdir", "rmdir"].map(|kind| (kind.to_owned(), Some(cgroup.name_of(&path)))));
    }
    let (before, gaps) = replay(&daemon, &cgroup, since)?;
    ensure!(gaps.is_empty(), "{gaps:?}");
    let last = daemon.client()?.status()?.seq;
    stop(daemon)?;
    // No daemon sees it.
    let unseen = cgroup.join("unseen");
    pair(&unseen)?;
    let daemon = start(folder.path())?;
    let status = daemon.client()?.status()?;
    ensure!(status.seq > last, "the numbers begin again: {} after {last}", status.seq);
    let after = cgroup.join("after");
    pair(&after)?;
    let (events, gaps) = replay(&daemon, &cgroup, since)?;
    ensure!(events.is_sorted_by_key(|event| event.seq), "{events:?}");
    // The same events, then one gap, then the later ones.
    let stored = events.get(..before.len()).context("events are missing")?;
    ensure!(stored == before, "{stored:?}, before the restart {before:?}");
    let found: Vec<_> = events.into_iter().map(|event| (event.kind.to_string(), event.path)).collect();
    expected.extend(["mkdir", "rmdir"].map(|kind| (kind.to_owned(), Some(cgroup.name_of(&after)))));
    ensure!(found == expected, "{found:?}");
    let [gap] = &gaps[..] else { bail!("expected one gap: {gaps:?}") };
    let last_event = before.last().context("no event")?;
    ensure!(gap.reason == "stopped" && gap.lost.is_none() && gap.uid.is_none(), "{gap:?}");
    ensure!(gap.from.as_ref().is_some_and(|from| from.boot_ns >= last_event.boot_ns), "{gap:?}");
    ensure!(gap.until.boot_ns <= status.started.boot_ns, "{gap:?}, started {:?}", status.started);
    // Who had the last event before the stop has missed the rest; who began after the start has not.
    let (events, gaps) = replay(&daemon, &cgroup, last)?;
    ensure!(events.len() == 2 && gaps[..] == [gap.clone()], "{events:?} {gaps:?}");
    let (events, gaps) = replay(&daemon, &cgroup, status.seq)?;
    ensure!(events.len() == 2 && gaps.is_empty(), "{events:?} {gaps:?}");
    // Nothing is claimed about the time when no daemon ran.
    let row = daemon.row(&cgroup.name_of(&unseen), any())?;
    let since = row.complete_since.as_ref().context("no complete_since")?;
    ensure!(!row.present && row.previous.is_empty() && since.boot_ns >= gap.until.boot_ns, "{row:?}");
    daemon.verify()
}

/// Killed at any moment: what a live client received is received again, or is in the gap.
fn killed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let cgroup = Cgroup::new(any(), "history-killed")?;
    let mut used: BTreeMap<u64, (String, Option<String>)> = BTreeMap::new();
    let mut first = None;
    for round in 0..4 {
        let daemon = start(folder.path())?;
        let since = daemon.client()?.status()?.seq;
        let first = *first.get_or_insert(since);
        let greatest = used.last_key_value().map_or(0, |(seq, _)| *seq);
        ensure!(since >= greatest, "round {round}: numbers begin at {since}, {greatest} was used");
        // Everything before is received as it was, or is within a gap.
        let (events, gaps) = replay(&daemon, &cgroup, first)?;
        // One that was killed before it stored anything is in the gap of the one before.
        ensure!(gaps.is_empty() == (round == 0) && gaps.len() <= round, "round {round}: {gaps:?}");
        for gap in &gaps {
            ensure!(gap.reason == "killed" && gap.lost.is_none(), "round {round}: {gap:?}");
            // It may have been killed before it stored anything.
            ensure!(gap.from.as_ref().is_none_or(|from| from.boot_ns <= gap.until.boot_ns), "{gap:?}");
        }
        for event in &events {
            let seen = (event.kind.to_string(), event.path.clone());
            let known = used.get(&event.seq);
            ensure!(known.is_none_or(|known| *known == seen), "round {round}: {event:?} was {known:?}");
        }
        let received: Vec<u64> = events.iter().map(|event| event.seq).collect();
        for (seq, event) in &used {
            let within = |gap: &wire::Gap| {
                let (before, after) = times(&events, *seq);
                let from = gap.from.as_ref().map_or(0, |from| from.boot_ns);
                before <= gap.until.boot_ns && from <= after
            };
            ensure!(
                received.contains(seq) || gaps.iter().any(within),
                "round {round}: {seq} {event:?} is neither received nor in a gap"
            );
        }
        // A client that has received an event before it was committed.
        let mut follower = Follower::start(&daemon, &wire::Watch { since_seq: None, ..watch(&cgroup, 0) })?;
        for number in 0..20 {
            pair(&cgroup.join(format!("{round}-{number}")))?;
        }
        for _ in 0..40 {
            let event = follower.next()?;
            let again = used.insert(event.seq, (event.kind.to_string(), event.path.clone()));
            ensure!(again.is_none(), "round {round}: {event:?} has the number of {again:?}");
        }
        kill(daemon)?;
    }
    Ok(())
}

/// The times of the received events before and after a number.
fn times(events: &[wire::Event], seq: u64) -> (u64, u64) {
    let at = events.partition_point(|event| event.seq < seq);
    let before = at.checked_sub(1).and_then(|at| events.get(at)).map_or(0, |event| event.boot_ns);
    (before, events.get(at).map_or(u64::MAX, |event| event.boot_ns))
}

fn previous() -> Outcome {
    let folder = tempfile::tempdir()?;
    let cgroup = Cgroup::new(any(), "history-previous")?;
    let path = cgroup.join("gone");
    let daemon = start(folder.path())?;
    fs::create_dir(&path)?;
    let inode = id(&path)?;
    fs::remove_dir(&path)?;
    let known = daemon.row(&cgroup.name_of(&path), any())?.previous;
    stop(daemon)?;
    let daemon = start(folder.path())?;
    let row = daemon.row(&cgroup.name_of(&path), any())?;
    ensure!(row.previous == known, "{:?}, before the restart {known:?}", row.previous);
    let [instance] = &row.previous[..] else { bail!("expected one previous instance: {row:?}") };
    let own = std::process::id();
    for task in [&instance.created_by, &instance.removed_by] {
        ensure!(task.as_ref().is_some_and(|task| task.pid == own), "{instance:?}");
    }
    let (created, removed) = (instance.created_at.as_ref(), instance.removed_at.as_ref());
    let (created, removed) = (created.context("no creation")?, removed.context("no removal")?);
    ensure!(instance.id == inode && created.boot_ns < removed.boot_ns && !instance.inferred, "{instance:?}");
    // It is bounded by the restart.
    ensure!(row.complete_since.as_ref().is_some_and(|since| since.boot_ns > removed.boot_ns), "{row:?}");
    // By its id, too.
    let lookup =
        wire::Lookup { ids: Some(vec![inode]), hierarchy: Some(any().to_owned()), ..Default::default() };
    let by_id = daemon.client()?.lookup_with(&lookup)?.results;
    let [result] = &by_id[..] else { bail!("expected one result: {by_id:?}") };
    ensure!(result.path == cgroup.name_of(&path), "{result:?}");
    ensure!(result.hierarchies[0].previous == known, "{result:?}");
    // Not in the reply that does not ask for it.
    let lookup =
        wire::Lookup { paths: vec![cgroup.name_of(&path)], previous: Some(false), ..wire::Lookup::default() };
    let rows = daemon.client()?.lookup_with(&lookup)?.results;
    ensure!(rows.iter().flat_map(|row| &row.hierarchies).all(|on| on.previous.is_empty()), "{rows:?}");
    Ok(())
}

/// A client of an earlier daemon is not taken for one of this.
fn in_memory() -> Outcome {
    let cgroup = Cgroup::new(any(), "history-memory")?;
    let daemon = Daemon::start()?;
    pair(&cgroup.join("before"))?;
    let last = daemon.client()?.status()?.seq;
    kill(daemon)?;
    let daemon = Daemon::start()?;
    let now = daemon.client()?.status()?.seq;
    ensure!(now > last, "numbers begin at {now}, {last} was used");
    pair(&cgroup.join("after"))?;
    let (events, gaps) = replay(&daemon, &cgroup, last)?;
    ensure!(events.len() == 2 && events[0].seq > last, "{events:?}");
    // It is not known how many there were.
    let [gap] = &gaps[..] else { bail!("expected one gap: {gaps:?}") };
    ensure!(gap.reason == "retention" && gap.lost.is_none(), "{gap:?}");
    Ok(())
}
