//! What the protocol promises of calls on one connection.

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, raw::Raw, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("protocol::calls_can_be_sent_ahead_and_are_answered_in_order", pipelined)]
}

fn pipelined() -> Outcome {
    const CALLS: usize = 500;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "pipelined")?;
    let mut raw = Raw::new(daemon.stream()?);
    for number in 0..CALLS {
        let names = [cgroup.name(), format!("/cgtrace-test-none-{number}"), "/".to_owned()];
        raw.send(&json!({"method": "io.cgtrace.Lookup", "parameters": {"names": names, "hierarchy": "v2"}}))?;
        // Its answers fill no socket: this test reads as it goes, but far behind.
        if number >= 50 {
            check(&raw.receive()?, &cgroup.name(), number - 50)?;
        }
    }
    for number in CALLS - 50..CALLS {
        check(&raw.receive()?, &cgroup.name(), number)?;
    }
    Ok(())
}

/// One batch's answers are in the order of its names, and of one moment.
fn check(said: &Value, name: &str, number: usize) -> Outcome {
    let answers = said["parameters"]["answers"].as_array().with_context(|| said.to_string())?;
    let told: Vec<_> =
        answers.iter().map(|answer| (answer["name"].as_str(), answer["present"].as_bool())).collect();
    let none = format!("/cgtrace-test-none-{number}");
    let expected = [(Some(name), Some(true)), (Some(&*none), Some(false)), (Some("/"), Some(true))];
    ensure!(told == expected, "call {number}: {told:?}");
    Ok(())
}
