//! Whatever is sent to the public socket, the daemon's memory stays within 200 MB and the private socket is served.

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
        trial("memory::half_sent_calls_are_dropped_at_their_deadline", half_sent_calls),
        trial("memory::patterns_are_bounded", || bounded(&[Kind::Globs], 64)),
        trial("memory::subscribers_that_never_read_are_bounded", || bounded(&[Kind::Oldest], 200)),
        trial("memory::replies_that_are_never_read_are_bounded", || {
            bounded(&[Kind::Lists, Kind::Lookups], 256)
        }),
        trial("memory::lists_and_events_of_long_paths_are_bounded", long_paths),
        trial("memory::sixteen_users_at_every_limit_are_bounded", || bounded(&Kind::ALL, 1_536)),
    ]
}

/// The deadline of an unfinished call is 10 s; a machine under load gets as much again.
const DROPPED_WITHIN: Duration = Duration::from_secs(20);

fn half_sent_calls() -> Outcome {
    let _many = many_descriptors()?;
    let stage = Stage::start()?;
    stage.serves_during(|| {
        let flood = Flood::of(&stage.public_socket(), &[Kind::HalfCall], 1_020)?;
        flood.wait_dropped(DROPPED_WITHIN).context("half-sent calls")
    })?;
    stage.finish()
}

/// Paths of up to 80 KB, listed and followed by clients that do not read.
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

/// The connections stay, unread, while cgroups come and go.
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
