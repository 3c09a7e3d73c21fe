//! `Log`: stored events, selected by time, kind, boot, cause and number.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{Error, StreamItem, wire};
use libtest_mimic::Trial;

use super::{events_of, log_of, outlive, pair};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, both},
    clock::rfc3339,
    daemon::Daemon,
    events::Follower,
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("history::the_log_selects_what_is_asked_for", selects),
        trial("history::the_log_is_continued_by_a_subscription", continued),
        trial("history::the_log_begins_with_a_gap_if_older_events_were_removed", retention),
        trial("history::a_long_log_comes_in_chunks", long),
    ]
}

type Seen = (String, Option<String>);

fn seen(events: &[wire::Event]) -> Vec<Seen> {
    events.iter().map(|event| (event.kind.to_string(), event.path.clone())).collect()
}

/// Runs mkdir(1) and rmdir(1); returns the pid of the first.
fn by_programs(path: &std::path::Path) -> Result<u32> {
    let mut child = Command::new("mkdir").arg(path).spawn()?;
    let pid = child.id();
    ensure!(child.wait()?.success() && Command::new("rmdir").arg(path).status()?.success());
    Ok(pid)
}

fn selects() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "log")?;
    let since = daemon.client()?.status()?.seq;
    let sleeper = Sleeper::start()?;
    let (a, b) = (cgroup.join("a"), cgroup.join("b"));
    fs::create_dir(&a)?;
    put(&a, "cgroup.procs", sleeper.pid())?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    fs::remove_dir(&a)?;
    let by = by_programs(&b)?;
    let base =
        wire::Log { patterns: Some(vec![cgroup.name()]), since_seq: Some(since), ..wire::Log::default() };
    let select = |log: wire::Log| events_of(&daemon, &log);
    let all = select(base.clone())?;
    let path = |path| Some(cgroup.name_of(path));
    let expected = [
        ("mkdir", path(&a)),
        ("attach", path(&a)),
        ("attach", Some(cgroup.name())),
        ("rmdir", path(&a)),
        ("mkdir", path(&b)),
        ("rmdir", path(&b)),
    ]
    .map(|(kind, path)| (kind.to_owned(), path));
    ensure!(seen(&all) == expected, "{all:?}");
    ensure!(all.is_sorted_by(|one, next| one.seq < next.seq && one.boot_ns <= next.boot_ns), "{all:?}");
    ensure!(all.iter().all(|event| event.boot_id.is_none()), "of another boot: {all:?}");
    let own = |event: &wire::Event| event.by.as_ref().is_some_and(|by| by.pid == std::process::id());
    ensure!(all[..4].iter().all(own), "{all:?}");

    // Both limits of a time are included.
    let times = all.iter().map(|event| rfc3339(event.time)).collect::<Result<Vec<_>>>()?;
    let time = |at: usize| times.get(at).cloned();
    for (from, to) in [(0, 5), (1, 3), (2, 2), (4, 5)] {
        let found = select(wire::Log { since: time(from), until: time(to), ..base.clone() })?;
        ensure!(found == all[from..=to], "{from} to {to}: {found:?}");
    }
    ensure!(select(wire::Log { since: time(3), ..base.clone() })? == all[3..], "since");
    ensure!(select(wire::Log { until: time(3), ..base.clone() })? == all[..=3], "until");
    ensure!(select(wire::Log { since: time(3), until: time(1), ..base.clone() })?.is_empty(), "reversed");
    let before = wire::Log { until: Some("2001-02-03T04:05:06Z".to_owned()), ..base.clone() };
    ensure!(select(before)?.is_empty(), "before everything");

    // Kinds.
    let kinds = |kinds: &[&str]| Some(kinds.iter().map(|kind| (*kind).to_owned()).collect());
    let found = select(wire::Log { kinds: kinds(&["attach"]), ..base.clone() })?;
    ensure!(found == all[1..3], "{found:?}");
    let found = select(wire::Log { kinds: kinds(&["mkdir", "rmdir"]), ..base.clone() })?;
    ensure!(found.len() == 4 && found.iter().all(|event| event.kind != "attach"), "{found:?}");
    let unknown = wire::Log { kinds: kinds(&["mkdr"]), ..base.clone() };
    let error = daemon.client()?.log(&unknown)?.next().context("no reply")?;
    ensure!(matches!(error, Err(Error::UnknownKind { .. })), "{error:?}");

    // The process that caused it: its pid, or its comm.
    let by_pid = select(wire::Log { by: Some(by.to_string()), ..base.clone() })?;
    ensure!(by_pid == all[4..5], "{by_pid:?}");
    let by_comm = select(wire::Log { by: Some("rmdir".to_owned()), ..base.clone() })?;
    ensure!(by_comm == all[5..], "{by_comm:?}");
    ensure!(select(wire::Log { by: Some("cgtrace-none".to_owned()), ..base.clone() })?.is_empty(), "by");

    // The boot: by its number or its id.
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned();
    for boot in ["0", &id] {
        ensure!(select(wire::Log { boot: Some(boot.to_owned()), ..base.clone() })? == all, "boot {boot}");
    }
    for boot in ["-1", "1", "4b51a5d0-0000-4000-8000-000000000000"] {
        let log = wire::Log { boot: Some(boot.to_owned()), ..base.clone() };
        match daemon.client()?.log(&log)?.next().context("no reply")? {
            Err(Error::UnknownBoot { known, .. }) => ensure!(known == [id.clone()], "{boot}: {known:?}"),
            other => anyhow::bail!("{boot}: {other:?}"),
        }
    }

    // The order, and how many.
    let mut reversed = select(wire::Log { newest_first: Some(true), ..base.clone() })?;
    reversed.reverse();
    ensure!(reversed == all, "{reversed:?}");
    for max in [0, 1, 4, 100_u64] {
        let count = usize::try_from(max)?.min(all.len());
        let first = select(wire::Log { max: Some(max), ..base.clone() })?;
        ensure!(first == all[..count], "max {max}: {first:?}");
        let newest = wire::Log { max: Some(max), newest_first: Some(true), ..base.clone() };
        let mut newest = select(newest)?;
        newest.reverse();
        ensure!(newest == all[all.len() - count..], "the newest {max}: {newest:?}");
    }
    ensure!(select(wire::Log { since_seq: Some(all[2].seq), ..base.clone() })? == all[3..], "since_seq");

    // Paths and hierarchies.
    let only = wire::Log { patterns: Some(vec![format!("{}/b*", cgroup.name())]), ..base.clone() };
    ensure!(select(only)? == all[4..], "a pattern");
    for hierarchy in both() {
        let on = wire::Log { hierarchies: Some(vec![hierarchy.to_owned()]), ..base.clone() };
        let found = select(on)?;
        ensure!(found == if hierarchy == any() { &all[..] } else { &[] }, "{hierarchy}: {found:?}");
    }
    Ok(())
}

/// No event between the log and the subscription after it is missing or received twice.
fn continued() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "log-continued")?;
    let since = daemon.client()?.status()?.seq;
    let kinds = Some(["mkdir", "rmdir"].map(str::to_owned).to_vec());
    let patterns = Some(vec![cgroup.name()]);
    let mut numbers = Vec::new();
    let mut after = since;
    for round in 0..20 {
        pair(&cgroup.join(format!("{round}")))?;
        let log = wire::Log {
            patterns: patterns.clone(),
            kinds: kinds.clone(),
            since_seq: Some(after),
            ..wire::Log::default()
        };
        let mut client = daemon.client()?;
        let mut log = client.log(&log)?;
        for item in log.by_ref() {
            numbers.extend(item?.event.map(|event| event.seq));
        }
        let last = log.seq().context("no number at the end of the log")?;
        pair(&cgroup.join(format!("{round}-later")))?;
        let watch = wire::Watch {
            patterns: patterns.clone(),
            kinds: kinds.clone(),
            since_seq: Some(last),
            ..wire::Watch::default()
        };
        let mut follower = Follower::start(&daemon, &watch)?;
        for _ in 0..2 {
            let event = follower.next()?;
            numbers.push(event.seq);
            after = event.seq;
        }
    }
    ensure!(numbers.len() == 80 && numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    Ok(())
}

fn retention() -> Outcome {
    let daemon = Daemon::start_with(&["--history-size", "1"])?;
    let cgroup = Cgroup::new(any(), "log-retention")?;
    let since = daemon.client()?.status()?.seq;
    let path = cgroup.join("x");
    outlive(&daemon, since, || pair(&path))?;
    for newest_first in [false, true] {
        let history = daemon.client()?.status()?.history;
        let log =
            wire::Log { since_seq: Some(since), newest_first: Some(newest_first), ..wire::Log::default() };
        let mut items = log_of(&daemon, &log)?;
        if newest_first {
            items.reverse();
        }
        let gap = items[0].gap.as_ref().with_context(|| format!("no gap: {:?}", items[0]))?;
        let lost = gap.lost.context("uncounted")?;
        let events: Vec<&wire::Event> = items.iter().filter_map(|item| item.event.as_ref()).collect();
        let first = events.first().context("no event")?;
        ensure!(gap.reason == "retention" && first.seq > since + lost, "{gap:?}, then {first:?}");
        // From the newest to the oldest, more may be removed meanwhile.
        ensure!(newest_first || gap.until.boot_ns <= first.boot_ns, "{gap:?}, then {first:?}");
        ensure!(events.is_sorted_by(|one, next| one.seq < next.seq), "not in order");
        // It is within the limit.
        ensure!(history.folder.is_none() && history.max_bytes == 1 << 20, "{history:?}");
        ensure!(history.segments > 1 && history.failure.is_none(), "{history:?}");
        // Unless other tests' events came faster than they could be stored.
        let complete = items.iter().filter(|item| item.gap.is_some()).count() == 1;
        let since = history.complete_since.context("no complete_since")?;
        ensure!(!complete || since.boot_ns <= first.boot_ns, "complete since {since:?}, then {first:?}");
    }
    Ok(())
}

/// More events than one page and one reply hold; without `more`, one reply has them all.
fn long() -> Outcome {
    const PAIRS: usize = 6_000;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "log-long")?;
    let path = cgroup.join("x");
    let since = daemon.client()?.status()?.seq;
    for number in 0..PAIRS {
        pair(&path)?;
        if number % 500 == 0 {
            // The history's queue is empty.
            daemon.row(&cgroup.name_of(&path), any())?;
        }
    }
    let log =
        wire::Log { patterns: Some(vec![cgroup.name()]), since_seq: Some(since), ..wire::Log::default() };
    let events = events_of(&daemon, &log)?;
    ensure!(events.len() == 2 * PAIRS, "{} of {}", events.len(), 2 * PAIRS);
    ensure!(events.is_sorted_by(|one, next| one.seq < next.seq), "not in order");
    let mut newest = events_of(&daemon, &wire::Log { newest_first: Some(true), ..log.clone() })?;
    newest.reverse();
    ensure!(newest == events, "the newest first are others");
    let watch = wire::Watch {
        patterns: log.patterns.clone(),
        kinds: Some(["mkdir", "rmdir"].map(str::to_owned).to_vec()),
        since_seq: Some(since),
        ..wire::Watch::default()
    };
    let mut follower = Follower::start(&daemon, &watch)?;
    for event in &events {
        match follower.next_item()? {
            StreamItem::Event(replayed) => ensure!(*replayed == *event, "{replayed:?}, not {event:?}"),
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(())
}
