//! Whatever clients call on the public socket, the private socket answers. `cargo xtask bench hostile`
//! measures the cost.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{
    flood::globs,
    stage::{ATTACKER, Stage},
};
use crate::support::{Outcome, cgroup::Cgroup, raw::Raw, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("time::long_patterns", || serves_beside(&|round| list(&long_patterns(round)))),
        trial("time::lookups_of_ten_thousand_paths", || serves_beside(&|_| lookup(10_000))),
        trial("time::lists_in_a_loop", || serves_beside(&|_| list(&[]))),
        trial("time::globs_that_match_nothing", || serves_beside(&|round| list(&globs(round)))),
        trial("time::watches_with_a_snapshot", || serves_beside(&|_| snapshot())),
        trial("time::questions_about_the_whole_past", || serves_beside(&past)),
        trial("time::verify_is_refused_on_the_public_socket", verify),
    ]
}

fn list(patterns: &[String]) -> Value {
    json!({"method": "io.cgtrace.List", "parameters": {"patterns": patterns}, "more": true})
}

/// Globs of the maximum length that are slow to match.
fn long_patterns(round: usize) -> Vec<String> {
    (0..4).map(|at| format!("/{}b{round}{at}*", "*a".repeat(500))).collect()
}

fn lookup(paths: usize) -> Value {
    let paths: Vec<String> = (0..paths).map(|at| format!("/cgtrace-test-{at}/{at}")).collect();
    json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": paths}})
}

fn snapshot() -> Value {
    json!({"method": "io.cgtrace.Watch", "parameters": {"snapshot": true, "kinds": ["mkdir"]}, "more": true})
}

/// Each kind of question about the past, of everything that is stored.
fn past(round: usize) -> Value {
    let long_ago = "2001-01-01T00:00:00Z";
    let (method, parameters) = match round % 5 {
        0 => ("Removed", json!({"patterns": ["/none/*"], "since": long_ago})),
        1 => ("Log", json!({"patterns": ["/none/*"], "since": long_ago})),
        2 => ("List", json!({"patterns": ["/none/*"], "at": jiff::Timestamp::now().to_string()})),
        3 => ("History", json!({"paths": vec!["/"; 16], "removed_paths": true})),
        _ => ("Lookup", json!({"paths": vec!["/cgtrace-test"; 1_000]})),
    };
    json!({"method": format!("io.cgtrace.{method}"), "parameters": parameters})
}

/// Four clients call repeatedly and read each reply, until the private socket has answered 50 times.
fn serves_beside(call: &(dyn Fn(usize) -> Value + Sync)) -> Outcome {
    let stage = Stage::start()?;
    let scope = Cgroup::new("v2", "hostile-time")?;
    for number in 0..2_000 {
        std::fs::create_dir(scope.join(number.to_string()))?;
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|threads| -> Outcome {
        let attackers: Vec<_> = (0..4)
            .map(|_| {
                threads.spawn(|| -> Result<usize> {
                    let mut calls = 0;
                    while !ended.load(Ordering::Relaxed) {
                        // Replies to the attackers may be slow.
                        let _ = read_replies(stage.public(ATTACKER)?, &call(calls));
                        calls += 1;
                    }
                    Ok(calls)
                })
            })
            .collect();
        let served: Outcome = (0..50).try_for_each(|_| stage.serves());
        ended.store(true, Ordering::Relaxed);
        for attacker in attackers {
            let calls = attacker.join().map_err(|_| anyhow::anyhow!("an attacker panicked"))??;
            ensure!(calls > 0, "no call was made");
        }
        served
    })?;
    stage.finish()
}

/// Sends a call and reads all replies. A stream is closed after its snapshot.
fn read_replies(mut raw: Raw, call: &Value) -> Outcome {
    raw.send(call)?;
    loop {
        let reply = raw.receive()?;
        if reply["continues"] != Value::Bool(true) || reply["parameters"]["seq"].is_u64() {
            return Ok(());
        }
    }
}

fn verify() -> Outcome {
    let stage = Stage::start()?;
    for _ in 0..100 {
        let reply = stage.public(ATTACKER)?.call(&json!({"method": "io.cgtrace.Verify"}))?;
        ensure!(reply["error"] == "io.cgtrace.NotPermitted", "{reply}");
    }
    stage.serves()?;
    stage.finish()
}
