//! An attacker who makes and removes cgroups with names of 4 KB loses no record of others, and makes no answer untrue.
//!
//! The floods come in bursts that the ring has room for, however slow this machine is; `cargo xtask bench attackers` has
//! one at full speed.

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
        trial("evidence::what_was_removed_is_known_or_the_answer_says_since_when", known_or_bounded),
        trial("evidence::living_cgroups_with_4_kb_names_are_bounded", living),
    ]
}

/// Pairs of records of one burst: 6.4 MB of the ring's 8 MiB.
const BURST: u64 = 800;

/// More than all previous instances that are kept.
const BURSTS: usize = 12;

/// Two floods at once would have no room in the ring.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn burst(stage: &Stage, attacker: &mut Attacker) -> Outcome {
    let below = attacker.home().path().to_owned();
    let report = attacker.order(&json!({"do": "flood", "below": below, "count": BURST}))?;
    ensure!(report["count"] == BURST, "{report}");
    // The answer comes after every record so far.
    stage.serves()
}

/// Records that had no room in the ring of the index.
fn lost(stage: &Stage) -> Result<u64> {
    let status = stage.private()?.call(&json!({"method": "io.cgtrace.Status"}))?;
    let sum = |list: &str| -> Result<u64> {
        let items = status["parameters"][list].as_array().with_context(|| format!("no {list}: {status}"))?;
        Ok(items.iter().filter_map(|item| item["lost"].as_u64()).sum())
    };
    Ok(sum("hierarchies")? + sum("rings")?)
}

fn nothing_is_lost() -> Outcome {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    stage.serves_during(|| (0..BURSTS).try_for_each(|_| burst(&stage, &mut attacker)))?;
    ensure!(lost(&stage)? == 0, "{} records were lost", lost(&stage)?);
    stage.finish()
}

/// What the private socket says of a path on v2.
fn row(stage: &Stage, path: &str) -> Result<Value> {
    let lookup = json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": [path], "hierarchy": "v2"}});
    let mut reply = stage.private()?.call(&lookup)?;
    let row = reply["parameters"]["results"][0]["hierarchies"][0].take();
    ensure!(row.is_object(), "no row: {reply}");
    Ok(row)
}

fn known_or_bounded() -> Outcome {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::start()?;
    let victim = Cgroup::new("v2", "hostile-evidence")?;
    let gone = victim.join("gone");
    fs::create_dir(&gone)?;
    fs::remove_dir(&gone)?;
    let name = victim.name_of(&gone);
    let removed =
        row(&stage, &name)?["previous"][0]["removed_at"]["boot_ns"].as_u64().context("not known at first")?;
    let mut attacker = Attacker::start()?;
    for _ in 0..BURSTS {
        burst(&stage, &mut attacker)?;
        let now = row(&stage, &name)?;
        ensure!(now["present"] == false, "{now}");
        let known = now["previous"][0]["removed_at"]["boot_ns"] == removed;
        // Or the record is complete only from a later moment on, and the answer says so.
        let horizon = now["observed_since"]["boot_ns"].as_u64().context("no observed_since")?;
        ensure!(known || horizon > removed, "the answer claims that it was never there: {now}");
    }
    stage.finish()
}

/// A tree of long names that stays: the index itself.
fn living() -> Outcome {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    let below = attacker.home().path().to_owned();
    // Each goes on at the bottom of the one before.
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
