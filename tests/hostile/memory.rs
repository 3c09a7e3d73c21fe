//! Whatever clients send to the public socket, the daemon stays within 200 MB and answers on the private
//! socket.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use libtest_mimic::Trial;
use serde_json::json;

use super::{
    attacker::Attacker,
    flood::{Flood, Kind},
    stage::Stage,
};
use crate::support::{Outcome, cgroup::Cgroup, descriptors::many_descriptors, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("memory::incomplete_calls_are_closed_at_the_deadline", incomplete_calls),
        trial("memory::patterns_are_bounded", || bounded(&[Kind::Globs], 64)),
        trial("memory::subscribers_that_never_read_are_bounded", || bounded(&[Kind::Oldest], 200)),
        trial("memory::replies_that_are_never_read_are_bounded", || {
            bounded(&[Kind::Lists, Kind::Lookups], 256)
        }),
        trial("memory::lists_and_events_of_long_paths_are_bounded", long_paths),
        trial("memory::sixteen_users_at_every_limit_are_bounded", || bounded(&Kind::ALL, 1_536)),
    ]
}

/// Twice the deadline of an incomplete call, which is 10 s, for a machine under load.
const CLOSED_WITHIN: Duration = Duration::from_secs(20);

fn incomplete_calls() -> Outcome {
    let _many = many_descriptors()?;
    let stage = Stage::start()?;
    stage.serves_during(|| {
        let flood = Flood::of(&stage.public_socket(), &[Kind::HalfCall], 1_020)?;
        flood.wait_closed(CLOSED_WITHIN).context("incomplete calls")
    })?;
    stage.finish()
}

/// Paths of up to 80 KB, in replies to List and Watch that are never read.
fn long_paths() -> Outcome {
    let _many = many_descriptors()?;
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    let below = attacker.home().path().to_owned();
    attacker.order(&json!({"do": "nest", "below": below, "count": 20, "leaves": 50}))?;
    stage.serves_during(|| -> Result<()> {
        let _flood = Flood::of(&stage.public_socket(), &[Kind::Lists, Kind::Oldest], 128)?;
        attacker.order(&json!({"do": "flood", "below": below, "count": 1_000}))?;
        Ok(())
    })?;
    stage.finish()
}

/// The connections stay open and unread while cgroups are created and removed.
fn bounded(kinds: &[Kind], count: usize) -> Outcome {
    let _many = many_descriptors()?;
    let stage = Stage::start()?;
    let scope = Cgroup::new("v2", "hostile-memory")?;
    for number in 0..2_000 {
        fs::create_dir(scope.join(format!("{number:0>100}")))?;
    }
    stage.serves_during(|| -> Result<()> {
        let _flood = Flood::of(&stage.public_socket(), kinds, count)?;
        for _ in 0..3_000 {
            let path = scope.join("again");
            fs::create_dir(&path)?;
            fs::remove_dir(&path)?;
        }
        Ok(())
    })?;
    stage.finish()
}
