//! Whatever is asked on the public socket, the private one is answered. What it costs is measured by
//! `cargo xtask bench hostile`.

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
        trial("time::long_patterns", || beside(&|round| list(&long_patterns(round)))),
        trial("time::lookups_of_ten_thousand_paths", || beside(&|_| lookup(10_000))),
        trial("time::lists_in_a_loop", || beside(&|_| list(&[]))),
        trial("time::globs_that_match_nothing", || beside(&|round| list(&globs(round)))),
        trial("time::watches_with_a_snapshot", || beside(&|_| snapshot())),
        trial("time::verify_is_refused_on_the_public_socket", verify),
    ]
}

fn list(patterns: &[String]) -> Value {
    json!({"method": "io.cgtrace.List", "parameters": {"patterns": patterns}, "more": true})
}

/// As long as a glob may be, and slow to match.
fn long_patterns(round: usize) -> Vec<String> {
    (0..4).map(|at| format!("/{}b{round}{at}*", "*a".repeat(500))).collect()
}

fn lookup(paths: usize) -> Value {
    let names: Vec<String> = (0..paths).map(|at| format!("/cgtrace-test-{at}/{at}")).collect();
    json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": names}})
}

fn snapshot() -> Value {
    json!({"method": "io.cgtrace.Watch", "parameters": {"snapshot": true, "kinds": ["mkdir"]}, "more": true})
}

/// Four clients call again and again, each reply read to its end, until the private socket was served 50 times.
fn beside(call: &(dyn Fn(usize) -> Value + Sync)) -> Outcome {
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
                        // Its own answers may take as long as they take.
                        let _ = answered(stage.public(ATTACKER)?, &call(calls));
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

/// Reads all replies to one call. A stream is left at its first reply without cgroups.
fn answered(mut raw: Raw, call: &Value) -> Outcome {
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
