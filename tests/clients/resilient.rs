//! `ResilientStream` goes on over a broken connection and over a restarted daemon, and says what is missing.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::{Cursor, Error, ResilientItem, ResilientStream, wire};
use libtest_mimic::Trial;

use super::proxy::Proxy;
use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::{Daemon, open_folder},
    trial,
};

/// Patience with what must come.
const PATIENCE: Duration = Duration::from_mins(1);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("clients::following_resumes_a_broken_connection", resumes),
        trial("clients::following_says_how_many_it_missed", missed),
        trial("clients::following_tells_a_restarted_daemon", restarted),
        trial("clients::following_goes_on_from_a_stored_position", stored),
        trial("clients::following_ends_with_its_patience", patience),
    ]
}

pub fn watch(name: &str) -> wire::Watch {
    // Other kinds are not all stored, and a replay says how many are missing.
    let kinds = ["mkdir", "rmdir"].map(str::to_owned).to_vec();
    wire::Watch { patterns: Some(vec![name.to_owned()]), kinds: Some(kinds), ..wire::Watch::default() }
}

fn next(following: &mut ResilientStream) -> Result<ResilientItem> {
    following.next_timeout(PATIENCE)?.context("nothing came")
}

fn next_event(following: &mut ResilientStream) -> Result<wire::Event> {
    match next(following)? {
        ResilientItem::Event(event) => Ok(*event),
        item => bail!("expected an event, got {item:?}"),
    }
}

fn made(following: &mut ResilientStream, path: &str) -> Outcome {
    let event = next_event(following)?;
    ensure!(event.kind == "mkdir" && event.path.as_deref() == Some(path), "{event:?}");
    Ok(())
}

fn resumes() -> Outcome {
    let daemon = Daemon::start()?;
    let proxy = Proxy::start(&daemon)?;
    let cgroup = Cgroup::new("v2", "resumes")?;
    let mut following = ResilientStream::start_at(proxy.socket(), watch(&cgroup.name()), None)?;
    ensure!(
        matches!(next(&mut following)?, ResilientItem::Started { instance, .. } if instance.pid == daemon.pid())
    );
    for round in 0..20 {
        let (seen, unseen) = (cgroup.join(format!("{round}-a")), cgroup.join(format!("{round}-b")));
        fs::create_dir(&seen)?;
        made(&mut following, &cgroup.name_of(&seen))?;
        ensure!(proxy.cut() == 1, "not one connection");
        fs::create_dir(&unseen)?;
        let resumed = next(&mut following)?;
        ensure!(matches!(resumed, ResilientItem::Resumed { .. }), "{resumed:?}");
        made(&mut following, &cgroup.name_of(&unseen))?;
    }
    ensure!(following.next_timeout(Duration::ZERO)?.is_none(), "more than what happened");
    Ok(())
}

fn missed() -> Outcome {
    let daemon = Daemon::start_with(&["--history-size", "1"])?;
    let proxy = Proxy::start(&daemon)?;
    let cgroup = Cgroup::new("v2", "missed")?;
    let mut following = ResilientStream::start_at(proxy.socket(), watch(&cgroup.name()), None)?;
    let ResilientItem::Started { instance, .. } = next(&mut following)? else { bail!("not started") };
    let since = following.cursor().context("no cursor")?.seq;
    proxy.cut();
    // More than is stored, before anybody asks again.
    let path = cgroup.join("x");
    let oldest = wire::Log { since_seq: Some(since), max: Some(1), ..wire::Log::default() };
    let begun = Instant::now();
    let removed = || -> Result<bool> {
        let item = daemon.client()?.log(&oldest)?.next().context("the log is empty")??;
        Ok(item.gap.is_some_and(|gap| gap.reason == "retention"))
    };
    for number in 0.. {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
        if number % 500 == 499 && removed()? {
            break;
        }
        ensure!(begun.elapsed() < 2 * PATIENCE, "the oldest event is still stored");
    }
    let resumed = next(&mut following)?;
    ensure!(matches!(resumed, ResilientItem::Resumed { .. }), "{resumed:?}");
    let missed = match next(&mut following)? {
        ResilientItem::Gap(gap) => {
            ensure!(gap.reason == "retention" && gap.until.boot_ns > instance.started.boot_ns, "{gap:?}");
            gap.lost.context("uncounted")?
        }
        item => bail!("expected what is missing, got {item:?}"),
    };
    let first = next_event(&mut following)?;
    ensure!(missed > 0 && first.seq > since + missed, "{missed} after {since}, then {first:?}");
    let at = following.cursor().context("no cursor")?;
    ensure!(at.seq == first.seq && at.at.boot_ns == first.boot_ns, "{at:?} {first:?}");
    Ok(())
}

/// Another daemon behind the same name.
fn lead(socket: &Path, daemon: &Daemon) -> Outcome {
    let new = socket.with_extension("new");
    symlink(daemon.socket(), &new)?;
    Ok(fs::rename(new, socket)?)
}

fn restarted() -> Outcome {
    let folder = open_folder()?;
    let socket = folder.path().join("io.cgtrace");
    let first = Daemon::start()?;
    lead(&socket, &first)?;
    let cgroup = Cgroup::new("v2", "restarted")?;
    let (a, b, c) = (cgroup.join("a"), cgroup.join("b"), cgroup.join("c"));
    let mut following = ResilientStream::start_at(&socket, watch(&cgroup.name()), None)?;
    next(&mut following)?;
    fs::create_dir(&a)?;
    let last = next_event(&mut following)?;
    drop(first);
    // No daemon answers: the stream keeps trying, within the timeout.
    let start = Instant::now();
    ensure!(following.next_timeout(Duration::from_millis(50))?.is_none());
    ensure!(start.elapsed() >= Duration::from_millis(50));
    fs::create_dir(&b)?;
    let second = Daemon::start()?;
    lead(&socket, &second)?;
    match next(&mut following)? {
        ResilientItem::Restarted { before, instance } => {
            ensure!(before.seq == last.seq && before.at.boot_ns == last.boot_ns, "{before:?} {last:?}");
            ensure!(
                instance.pid == second.pid() && instance.started.boot_ns > before.at.boot_ns,
                "{instance:?}"
            );
        }
        item => bail!("expected the restart, got {item:?}"),
    }
    // The new one has a history of its own: whatever is missing before the next event is a gap.
    fs::create_dir(&c)?;
    loop {
        match next(&mut following)? {
            ResilientItem::Gap(gap) => ensure!(gap.until.boot_ns > last.boot_ns, "{gap:?}"),
            ResilientItem::Event(event) => {
                ensure!(event.path == Some(cgroup.name_of(&c)), "{event:?}");
                return Ok(());
            }
            item => bail!("expected a gap or the event, got {item:?}"),
        }
    }
}

fn stored() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "stored")?;
    let mut following = ResilientStream::start_at(daemon.socket(), watch(&cgroup.name()), None)?;
    next(&mut following)?;
    let text = serde_json::to_string(&following.cursor())?;
    drop(following);
    let path = cgroup.join("meanwhile");
    fs::create_dir(&path)?;
    let cursor: Cursor = serde_json::from_str(&text)?;
    let mut following = ResilientStream::start_at(daemon.socket(), watch(&cgroup.name()), Some(cursor))?;
    ensure!(matches!(next(&mut following)?, ResilientItem::Resumed { .. }));
    made(&mut following, &cgroup.name_of(&path))
}

fn patience() -> Outcome {
    let daemon = Daemon::start()?;
    let mut following = ResilientStream::start_at(
        daemon.socket(),
        wire::Watch { kinds: Some(vec!["exec".into()]), ..Default::default() },
        None,
    )?
    .retry_for(Duration::from_millis(100));
    next(&mut following)?;
    drop(daemon);
    for _ in 0..2 {
        let item = following.next().context("the iterator ended")?;
        ensure!(matches!(item, Err(Error::Connect { .. })), "{item:?}");
    }
    let daemon = Daemon::start()?;
    let wrong = wire::Watch { kinds: Some(vec!["mkdr".into()]), ..Default::default() };
    let item = ResilientStream::start_at(daemon.socket(), wrong, None);
    ensure!(matches!(item, Err(Error::UnknownKind { .. })), "{item:?}");
    Ok(())
}
