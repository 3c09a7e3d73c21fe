//! An attacker who makes and removes cgroups with names of 4 KB loses no record of others, and makes no answer untrue.

use std::fs;

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

const FLOOD: u64 = 10_000;

fn flood(attacker: &mut Attacker, count: u64) -> Outcome {
    let below = attacker.home().path().to_owned();
    let report = attacker.order(&json!({"do": "flood", "below": below, "count": count}))?;
    ensure!(report["count"] == count, "{report}");
    Ok(())
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
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    stage.serves_during(|| flood(&mut attacker, FLOOD))?;
    ensure!(lost(&stage)? == 0, "{} records were lost", lost(&stage)?);
    stage.finish()
}

/// What the private socket says of a path on v2.
fn row(stage: &Stage, path: &str) -> Result<Value> {
    let lookup = json!({"method": "io.cgtrace.Lookup", "parameters": {"names": [path], "hierarchy": "v2"}});
    let mut reply = stage.private()?.call(&lookup)?;
    let row = reply["parameters"]["answers"][0]["rows"][0].take();
    ensure!(row.is_object(), "no row: {reply}");
    Ok(row)
}

fn known_or_bounded() -> Outcome {
    let stage = Stage::start()?;
    let victim = Cgroup::new("v2", "hostile-evidence")?;
    let gone = victim.join("gone");
    fs::create_dir(&gone)?;
    fs::remove_dir(&gone)?;
    let name = victim.name_of(&gone);
    let removed = row(&stage, &name)?["past"][0]["died"]["boot_ns"].as_u64().context("not known at first")?;
    let mut attacker = Attacker::start()?;
    for _ in 0..5 {
        stage.serves_during(|| flood(&mut attacker, FLOOD))?;
        let now = row(&stage, &name)?;
        ensure!(now["present"] == false, "{now}");
        let known = now["past"][0]["died"]["boot_ns"] == removed;
        // Or the record is complete only from a later moment on, and the answer says so.
        let horizon = now["known_since"]["boot_ns"].as_u64().context("no known_since")?;
        ensure!(known || horizon > removed, "the answer claims that it was never there: {now}");
    }
    stage.finish()
}

/// A tree of long names that stays: the index itself.
fn living() -> Outcome {
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    let below = attacker.home().path().to_owned();
    stage.serves_during(|| {
        attacker.order(&json!({"do": "nest", "below": below, "count": 40, "leaves": 100}))
    })?;
    ensure!(lost(&stage)? == 0, "{} records were lost", lost(&stage)?);
    stage.finish()
}
