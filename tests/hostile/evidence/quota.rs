//! A user that creates and removes half a million cgroups fills its own share of the history, and no more.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::{Client, StreamItem, wire};
use serde_json::{Value, json};

use super::{
    super::{
        attacker::Attacker,
        stage::{ATTACKER, Stage},
    },
    lookup,
};
use crate::support::{Outcome, cgroup::Cgroup};

/// Pairs in one burst, whose events fit into the history's queue.
const BURST: u64 = 2_000;

const BURSTS: u64 = 250;

fn client(stage: &Stage) -> Result<Client> {
    Ok(Client::connect_to(&stage.private_socket())?)
}

/// Counts what the history has of the attacker's events: those that are stored, and those in a gap.
#[derive(Default)]
struct Counted {
    stored: u64,
    missing: u64,
}

impl Counted {
    fn gap(&mut self, gap: &wire::Gap, uid: Option<u32>) -> Outcome {
        ensure!(gap.reason == "quota" && gap.uid == uid, "{gap:?}");
        ensure!(gap.from.as_ref().is_some_and(|from| from.boot_ns < gap.until.boot_ns), "{gap:?}");
        self.missing += gap.lost.context("uncounted")?;
        Ok(())
    }

    /// In the log of what it caused.
    fn log(stage: &Stage, attacker: &Attacker, since: u64) -> Result<Self> {
        let log = wire::Log {
            patterns: Some(vec![attacker.home().name()]),
            by: Some(attacker.pid().to_string()),
            since_seq: Some(since),
            ..wire::Log::default()
        };
        let mut counted = Self::default();
        for item in client(stage)?.log(&log)? {
            let wire::LogItem { event, gap, .. } = item?;
            counted.stored += u64::from(event.is_some());
            gap.iter().try_for_each(|gap| counted.gap(gap, Some(ATTACKER)))?;
        }
        Ok(counted)
    }

    /// In the replay of a subscriber, up to a cgroup that root creates. `uid`: as the socket shows it.
    fn replay(
        mut raw: crate::support::raw::Raw,
        home: &Cgroup,
        since: u64,
        uid: Option<u32>,
    ) -> Result<Self> {
        let parameters = json!({"patterns": [home.name()], "kinds": ["mkdir", "rmdir"], "since_seq": since});
        raw.send(&json!({"method": "io.cgtrace.Watch", "parameters": parameters, "more": true}))?;
        let end = home.join("end");
        let mut counted = Self::default();
        let mut started = false;
        loop {
            let reply = raw.receive()?;
            let reply: wire::WatchReply = serde_json::from_value(reply["parameters"].clone())?;
            ensure!(reply.dropped.is_none(), "dropped: {reply:?}");
            if !std::mem::replace(&mut started, true) {
                fs::create_dir(&end)?;
            }
            reply.gap.iter().try_for_each(|gap| counted.gap(gap, uid))?;
            if let Some(event) = reply.event {
                if event.path == Some(home.name_of(&end)) {
                    fs::remove_dir(&end)?;
                    return Ok(counted);
                }
                counted.stored += 1;
            }
        }
    }
}

pub fn evidence_survives() -> Outcome {
    let stage = Stage::start()?;
    let root = Cgroup::new("v2", "hostile-quota")?;
    let gone = root.join("gone");
    fs::create_dir(&gone)?;
    fs::remove_dir(&gone)?;
    let path = root.name_of(&gone);
    let before = lookup(&stage, &path)?["previous"].clone();
    let own = |task: &Value| task["pid"] == std::process::id() && task["uid"] == 0;
    ensure!(own(&before[0]["created_by"]) && own(&before[0]["removed_by"]), "{before}");
    let mut attacker = Attacker::start()?;
    let below = attacker.home().path().to_owned();
    let since = client(&stage)?.status()?.seq;
    for number in 0..BURSTS {
        let report = attacker.order(&json!({"do": "pairs", "below": below, "count": BURST}))?;
        ensure!(report["count"] == BURST, "{report}");
        // Exact about the present, and the evidence is still there.
        let present = root.join(format!("present-{number}"));
        fs::create_dir(&present)?;
        ensure!(lookup(&stage, &root.name_of(&present))?["present"] == true, "burst {number}");
        fs::remove_dir(&present)?;
        ensure!(lookup(&stage, &root.name_of(&present))?["present"] == false, "burst {number}");
        let now = lookup(&stage, &path)?;
        ensure!(now["present"] == false && now["previous"] == before, "burst {number}: {now}");
    }
    let status = client(&stage)?.status()?;
    let lost: u64 = status.rings.iter().map(|ring| ring.lost).sum();
    ensure!(lost == 0 && status.history.failure.is_none(), "{lost} records lost: {:?}", status.history);
    let quota = status.history.missing.iter().filter(|missing| missing.reason != "quota").count();
    ensure!(quota == 0, "missing for another reason: {:?}", status.history.missing);

    // Every event is stored or counted, once.
    let made = 2 * BURST * BURSTS;
    let counted = Counted::log(&stage, &attacker, since)?;
    let exact = |what: &str, Counted { stored, missing }: &Counted| -> Outcome {
        ensure!(*stored > 0 && *missing > 0, "{what}: {stored} stored, {missing} missing");
        ensure!(stored + missing == made, "{what}: {stored} stored and {missing} missing of {made}");
        Ok(())
    };
    exact("the log", &counted)?;
    let home = attacker.home();
    exact("a replay", &Counted::replay(stage.private()?, home, since, Some(ATTACKER))?)?;
    // Not whose, on the public socket.
    exact("a public replay", &Counted::replay(stage.public(ATTACKER)?, home, since, None)?)?;

    // The reply says from when on the record is complete, and why not before.
    let now = lookup(&stage, &path)?;
    ensure!(now["gap"]["reason"] == "quota" && now["gap"]["uid"] == ATTACKER, "{now}");
    let removed = before[0]["removed_at"]["boot_ns"].as_u64().context("no removal")?;
    ensure!(now["complete_since"]["boot_ns"].as_u64() > Some(removed), "{now}");
    // A list of a past time says whose cgroups may be missing.
    let list = wire::List {
        patterns: Some(vec![root.name()]),
        hierarchy: Some("v2".to_owned()),
        at: now["complete_since"]["time"].as_str().map(str::to_owned),
    };
    let mut private = client(&stage)?;
    let mut listed = private.list(&list)?;
    let found = listed.by_ref().collect::<Result<Vec<_>, _>>()?;
    ensure!(found.len() == 1 && listed.incomplete_for() == [u64::from(ATTACKER)], "{found:?}");
    let mut public = Client::connect_to(&stage.public_socket())?;
    let mut listed = public.list(&list)?;
    ensure!(listed.by_ref().count() == 1 && listed.incomplete_for().is_empty(), "shown in public");
    // Root's own events go on being stored.
    fs::create_dir(&gone)?;
    fs::remove_dir(&gone)?;
    let previous = &lookup(&stage, &path)?["previous"];
    ensure!(previous.as_array().is_some_and(|previous| previous.len() == 2), "{previous}");
    ensure!(previous[1] == before[0] && own(&previous[0]["removed_by"]), "{previous}");
    if let Some(item) = client(&stage)?.watch(&wire::Watch::default())?.next() {
        match item? {
            StreamItem::Started { seq } => ensure!(seq >= since + made, "{seq} after {since}"),
            other => bail!("{other:?}"),
        }
    }
    stage.finish()
}
