//! Calls of every method of the protocol, with the attacker's text as each argument.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::support::raw::Raw;

/// The calls, including former methods and arguments.
pub fn with(text: &str) -> Vec<Value> {
    let one = [text];
    vec![
        json!({"method": "io.cgtrace.Status"}),
        json!({"method": "io.cgtrace.Metrics"}),
        json!({"method": "io.cgtrace.Verify"}),
        json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": one}}),
        json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": one, "hierarchy": text}}),
        json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": [], "ids": [1, 2, i64::MAX]}}),
        json!({"method": "io.cgtrace.Wait", "parameters": {"path": text, "state": "present", "timeout_ms": 1}}),
        json!({"method": "io.cgtrace.Wait", "parameters": {"path": text, "state": text, "timeout_ms": 1}}),
        json!({"method": "io.cgtrace.List", "parameters": {"patterns": one}}),
        json!({"method": "io.cgtrace.List", "parameters": {"patterns": one, "hierarchy": text}}),
        json!({"method": "io.cgtrace.Watch", "parameters": {"patterns": one, "snapshot": true}, "more": true}),
        json!({"method": "io.cgtrace.Watch", "parameters": {"kinds": one, "hierarchies": one}, "more": true}),
        json!({"method": "io.cgtrace.History",
            "parameters": {"paths": one, "comms": one, "removed_paths": true}}),
        json!({"method": "io.cgtrace.Log", "parameters": {"patterns": one}}),
        json!({"method": "io.cgtrace.Log", "parameters": {"newest_first": true, "max": 1_000}}),
        json!({"method": "io.cgtrace.Log", "parameters": {"kinds": one, "hierarchies": one}}),
        json!({"method": "io.cgtrace.Log", "parameters": {"since": text, "until": text}}),
        json!({"method": "io.cgtrace.Log", "parameters": {"boot": text}}),
        json!({"method": "io.cgtrace.Log", "parameters": {"by": text}}),
        json!({"method": "io.cgtrace.Removed", "parameters": {"patterns": one}}),
        json!({"method": "io.cgtrace.Removed", "parameters": {"hierarchy": text, "since": text}}),
        json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": one, "at": text}}),
        json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": one, "at": "2999-01-01T00:00:00Z"}}),
        json!({"method": "io.cgtrace.List", "parameters": {"patterns": one, "at": text}}),
        json!({"method": "io.cgtrace.List", "parameters": {"patterns": one, "at": "2999-01-01T00:00:00Z"}}),
        json!({"method": "org.varlink.service.GetInfo"}),
        json!({"method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": text}}),
        json!({"method": "io.cgtrace.Why", "parameters": {"path": text, "observer": {"process": "kubelet"}}}),
        json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": one, "detail": true, "pid": 1}}),
        json!({"method": text, "parameters": {"path": text}}),
    ]
}

/// Fails if the interface has a method that is not among the calls.
pub fn ensure_complete(raw: &mut Raw) -> Result<()> {
    let reply = raw.call(&json!({
        "method": "org.varlink.service.GetInterfaceDescription", "parameters": {"interface": "io.cgtrace"},
    }))?;
    let description = reply["parameters"]["description"].as_str().context("no description")?;
    let methods: BTreeSet<String> = description
        .lines()
        .filter_map(|line| Some(line.strip_prefix("method ")?.split_once('(')?.0.to_owned()))
        .collect();
    let called: BTreeSet<String> = with("/")
        .iter()
        .filter_map(|call| call["method"].as_str()?.strip_prefix("io.cgtrace.").map(str::to_owned))
        .collect();
    ensure!(!methods.is_empty() && methods.is_subset(&called), "methods {methods:?}, called {called:?}");
    ensure!(!methods.contains("Why"), "Why is still a method");
    Ok(())
}

/// The first reply to each call. Each uses a new connection, as some calls close it and a Watch occupies it.
pub fn replies(text: &str, connect: impl Fn() -> Result<Raw>) -> Result<Vec<(Value, Value)>> {
    with(text)
        .into_iter()
        .map(|call| {
            let mut raw = connect()?;
            raw.send(&call)?;
            let reply = raw.receive().with_context(|| format!("no reply to {call}"))?;
            Ok((call, reply))
        })
        .collect()
}
