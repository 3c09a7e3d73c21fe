//! The public socket shows no identities; only root and its group can open the private socket.

use std::{fs, io};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{
    attacker::Attacker,
    calls,
    stage::{ATTACKER, DAEMON, Stage},
};
use crate::support::{
    Outcome,
    cgroup::Cgroup,
    peer::connect_as,
    process::{Sleeper, put},
    raw::Raw,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("identities::public_replies_contain_none", none_in_public),
        trial("identities::others_cannot_open_the_private_socket", private_is_closed),
    ]
}

/// Keys of identities in replies.
const IDENTITIES: &[&str] = &[
    "by",
    "task",
    "created_by",
    "removed_by",
    "comm",
    "uid",
    "pid",
    "tid",
    "ppid",
    "gid",
    "execs",
    "ancestors",
    "members",
    "processes",
    "threadgroup",
    "start_boot_ns",
];

/// Collects the key paths of identities in a reply.
fn identities(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, below) in fields {
                let at = format!("{at}.{key}");
                if IDENTITIES.contains(&key.as_str()) && !below.is_null() {
                    found.push(at.clone());
                }
                identities(below, &at, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| identities(value, at, found)),
        _ => {}
    }
}

fn ensure_no_identity(call: &Value, reply: &Value) -> Outcome {
    let mut found = Vec::new();
    identities(reply, "", &mut found);
    // The pid of the daemon is not secret: the kernel shows it, too (SO_PEERCRED).
    found.retain(|at| !(at == ".parameters.pid" && call["method"] == "io.cgtrace.Status"));
    ensure!(found.is_empty(), "{call}: {found:?} in {reply}");
    Ok(())
}

/// Creates, moves to and removes cgroups of a victim.
fn history(victim: &Cgroup) -> Outcome {
    let sleeper = Sleeper::start()?;
    put(victim.path(), "cgroup.procs", sleeper.pid())?;
    let removed = victim.join("removed");
    fs::create_dir(&removed)?;
    put(&removed, "cgroup.procs", sleeper.pid())?;
    put(victim.path(), "cgroup.procs", sleeper.pid())?;
    fs::remove_dir(&removed)?;
    drop(sleeper);
    Ok(())
}

fn none_in_public() -> Outcome {
    let stage = Stage::start_with(&["--track-exec", "sleep"], None)?;
    let victim = Cgroup::new("v2", "hostile-victim")?;
    history(&victim)?;
    calls::ensure_complete(&mut stage.private()?)?;
    let mut attacker = Attacker::start()?;
    let mut calls_made = 0;
    for name in [victim.name(), format!("{}/removed", victim.name()), "sleep".to_owned()] {
        // As uid 65534, as root of a user namespace, and as root: the uid must not matter.
        for (call, reply) in calls::replies(&name, || stage.public(ATTACKER))?
            .into_iter()
            .chain(calls::replies(&name, || stage.public(0))?)
        {
            ensure_no_identity(&call, &reply)?;
            calls_made += 1;
        }
        for call in calls::with(&name) {
            ensure_no_identity(&call, &attacker.call(&stage.public_socket(), &call)?)?;
        }
    }
    ensure!(calls_made > 50, "{calls_made} calls");
    // All events since the start.
    let mut raw = stage.public(ATTACKER)?;
    let kinds = events(&mut raw, &victim)?;
    for kind in ["mkdir", "rmdir"] {
        ensure!(kinds.iter().any(|found| found == kind), "no {kind} among {kinds:?}");
    }
    // Control: the same calls return identities on the private socket.
    let mut found = Vec::new();
    for (_, reply) in calls::replies(&victim.name(), || stage.private())? {
        identities(&reply, "", &mut found);
    }
    ensure!(found.iter().any(|at| at.ends_with(".created_by")), "{found:?}");
    let metrics = stage.public(ATTACKER)?.call(&json!({"method": "io.cgtrace.Metrics"}))?.to_string();
    ensure!(!metrics.contains("cgtrace-test") && !metrics.contains("sleep"), "{metrics}");
    stage.finish()
}

/// The kinds of all events of a cgroup; fails if one has an identity.
fn events(raw: &mut Raw, victim: &Cgroup) -> Result<Vec<String>> {
    let call = json!({
        "method": "io.cgtrace.Watch", "more": true,
        "parameters": {"since_seq": 0, "patterns": [victim.name()]},
    });
    raw.send(&call)?;
    let end = victim.join("end");
    fs::create_dir(&end)?;
    let path = victim.name_of(&end);
    let mut kinds = Vec::new();
    loop {
        let reply = raw.receive()?;
        ensure_no_identity(&call, &reply)?;
        let event = &reply["parameters"]["event"];
        if let Some(kind) = event["kind"].as_str() {
            kinds.push(kind.to_owned());
        }
        if event["path"] == path.as_str() {
            fs::remove_dir(&end)?;
            return Ok(kinds);
        }
        ensure!(reply.get("error").is_none(), "{reply}");
    }
}

fn private_is_closed() -> Outcome {
    let stage = Stage::start()?;
    let socket = stage.private_socket();
    let is_refused = |uid: u32, gid: u32, groups: &[u32]| -> Result<bool> {
        match connect_as(&socket, uid, gid, groups) {
            Ok(_) => Ok(false),
            Err(error) => {
                let kind = error.downcast_ref::<io::Error>().context("not a system error")?.kind();
                Ok(kind == io::ErrorKind::PermissionDenied)
            }
        }
    };
    ensure!(is_refused(ATTACKER, ATTACKER, &[])?, "uid 65534 opened the private socket");
    ensure!(is_refused(ATTACKER, 0, &[0, 1, 4, 6, 27])?, "groups of root opened the private socket");
    ensure!(!is_refused(ATTACKER, DAEMON, &[])?, "its group cannot open it");
    ensure!(!is_refused(ATTACKER, ATTACKER, &[DAEMON])?, "its group as supplementary group cannot open it");
    // Root of a user namespace can mount and change its groups there, but has no privileges here.
    let mut attacker = Attacker::start()?;
    let call = json!({"method": "io.cgtrace.Status"});
    let error =
        attacker.call(&socket, &call).err().context("root of a user namespace opened the private socket")?;
    ensure!(format!("{error:#}").contains("Permission denied"), "{error:#}");
    ensure!(attacker.call(&stage.public_socket(), &call)?["parameters"]["version"].is_string());
    stage.finish()
}
