//! An attacker that creates and removes cgroups with names of 4 KB causes no lost record and no wrong reply.
//!
//! The floods come in bursts that fit into the ring, however slow the machine is; `cargo xtask bench
//! attackers` floods at full speed.

mod quota;

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{attacker::Attacker, stage::Stage};
use crate::support::{Outcome, cgroup::Cgroup, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("evidence::a_flood_of_4_kb_names_loses_no_record", nothing_is_lost),
        trial("evidence::a_removal_is_known_or_before_complete_since", known_or_bounded),
        trial("evidence::another_users_million_events_do_not_push_out_roots", quota::evidence_survives),
        trial("evidence::existing_cgroups_with_4_kb_names_are_bounded", existing),
    ]
}

/// Pairs of records in one burst: 6.4 MB of the ring's 8 MiB.
const BURST: u64 = 800;

/// Their names take more than the whole history: 38 MB.
const BURSTS: usize = 12;

/// Two floods at once would not fit into the ring.
static EXCLUSIVE: Mutex<()> = Mutex::new(());

fn burst(stage: &Stage, attacker: &mut Attacker) -> Outcome {
    let below = attacker.home().path().to_owned();
    let report = attacker.order(&json!({"do": "flood", "below": below, "count": BURST}))?;
    ensure!(report["count"] == BURST, "{report}");
    // The reply follows the processing of every record so far.
    stage.serves()
}

/// The number of lost records.
fn lost(stage: &Stage) -> Result<u64> {
    let status = stage.private()?.call(&json!({"method": "io.cgtrace.Status"}))?;
    let sum = |list: &str| -> Result<u64> {
        let items = status["parameters"][list].as_array().with_context(|| format!("no {list}: {status}"))?;
        Ok(items.iter().filter_map(|item| item["lost"].as_u64()).sum())
    };
    Ok(sum("hierarchies")? + sum("rings")?)
}

fn nothing_is_lost() -> Outcome {
    let _alone = EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    stage.serves_during(|| (0..BURSTS).try_for_each(|_| burst(&stage, &mut attacker)))?;
    ensure!(lost(&stage)? == 0, "{} records were lost", lost(&stage)?);
    stage.finish()
}

/// Looks up a path on v2 on the private socket.
fn lookup(stage: &Stage, path: &str) -> Result<Value> {
    let call = json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": [path], "hierarchy": "v2"}});
    let mut reply = stage.private()?.call(&call)?;
    let result = reply["parameters"]["results"][0]["hierarchies"][0].take();
    ensure!(result.is_object(), "no result: {reply}");
    Ok(result)
}

fn known_or_bounded() -> Outcome {
    let _alone = EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::start()?;
    let victim = Cgroup::new("v2", "hostile-evidence")?;
    let removed_path = victim.join("removed");
    fs::create_dir(&removed_path)?;
    fs::remove_dir(&removed_path)?;
    let path = victim.name_of(&removed_path);
    let removed = lookup(&stage, &path)?["previous"][0]["removed_at"]["boot_ns"]
        .as_u64()
        .context("no removal is known")?;
    let mut attacker = Attacker::start()?;
    for _ in 0..BURSTS {
        burst(&stage, &mut attacker)?;
        let now = lookup(&stage, &path)?;
        ensure!(now["present"] == false, "{now}");
        let known = now["previous"][0]["removed_at"]["boot_ns"] == removed;
        // If it is no longer stored, complete_since must be later.
        let since = now["complete_since"]["boot_ns"].as_u64().context("no complete_since")?;
        ensure!(known || since > removed, "the reply claims that the cgroup never existed: {now}");
        // A period that is not complete has a reason.
        let observed = now["observed_since"]["boot_ns"].as_u64().context("no observed_since")?;
        ensure!(since == observed || now["gap"]["reason"].is_string(), "{now}");
    }
    stage.finish()
}

/// A tree of cgroups with long names that stay: the size of the index itself.
fn existing() -> Outcome {
    let _alone = EXCLUSIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    let below = attacker.home().path().to_owned();
    // Each nest continues at the bottom of the previous one.
    stage.serves_during(|| -> Outcome {
        for _ in 0..8 {
            attacker.order(&json!({"do": "nest", "below": below, "count": 5, "leaves": 100}))?;
            stage.serves()?;
        }
        Ok(())
    })?;
    ensure!(lost(&stage)? == 0, "{} records were lost", lost(&stage)?);
    stage.finish()
}
