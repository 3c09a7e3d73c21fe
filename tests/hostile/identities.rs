//! The public socket carries no identity, to anybody; the private one opens for root and its group alone.

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
        trial("identities::no_reply_on_the_public_socket_has_one", none_in_public),
        trial("identities::the_private_socket_does_not_open", private_is_closed),
    ]
}

/// Keys under which identities stand, on any socket.
const IDENTITIES: &[&str] = &[
    "by",
    "task",
    "created_by",
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

/// The identities within a reply, as paths of keys.
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

fn has_none(call: &Value, reply: &Value) -> Outcome {
    let mut found = Vec::new();
    identities(reply, "", &mut found);
    // Whose daemon it is, a client may know: the kernel tells it, too.
    found.retain(|at| !(at == ".parameters.pid" && call["method"] == "io.cgtrace.Status"));
    ensure!(found.is_empty(), "{call}: {found:?} in {reply}");
    Ok(())
}

/// A victim's cgroups with all that can happen to them.
fn history(victim: &Cgroup) -> Outcome {
    let sleeper = Sleeper::start()?;
    put(victim.path(), "cgroup.procs", sleeper.pid())?;
    let gone = victim.join("gone");
    fs::create_dir(&gone)?;
    put(&gone, "cgroup.procs", sleeper.pid())?;
    put(victim.path(), "cgroup.procs", sleeper.pid())?;
    fs::remove_dir(&gone)?;
    drop(sleeper);
    Ok(())
}

fn none_in_public() -> Outcome {
    let stage = Stage::start_with(&["--track-exec", "sleep"], None)?;
    let victim = Cgroup::new("v2", "hostile-victim")?;
    history(&victim)?;
    calls::are_complete(&mut stage.private()?)?;
    let mut attacker = Attacker::start()?;
    let mut asked = 0;
    for name in [victim.name(), format!("{}/gone", victim.name()), "sleep".to_owned()] {
        // As uid 65534, as root of a user namespace, and as root: there is no uid logic to be tricked.
        for (call, reply) in calls::replies(&name, || stage.public(ATTACKER))?
            .into_iter()
            .chain(calls::replies(&name, || stage.public(0))?)
        {
            has_none(&call, &reply)?;
            asked += 1;
        }
        for call in calls::with(&name) {
            has_none(&call, &attacker.call(&stage.public_socket(), &call)?)?;
        }
    }
    ensure!(asked > 50, "{asked} calls");
    // Every event since the start.
    let mut raw = stage.public(ATTACKER)?;
    let kinds = events(&mut raw, &victim)?;
    for kind in ["mkdir", "rmdir"] {
        ensure!(kinds.iter().any(|found| found == kind), "no {kind} among {kinds:?}");
    }
    // The same questions do have identities on the private socket, or nothing was shown.
    let mut found = Vec::new();
    for (_, reply) in calls::replies(&victim.name(), || stage.private())? {
        identities(&reply, "", &mut found);
    }
    ensure!(found.iter().any(|at| at.ends_with(".created_by") || at.ends_with(".created_by")), "{found:?}");
    let metrics = stage.public(ATTACKER)?.call(&json!({"method": "io.cgtrace.Metrics"}))?.to_string();
    ensure!(!metrics.contains("cgtrace-test") && !metrics.contains("sleep"), "{metrics}");
    stage.finish()
}

/// The kinds of all events of a cgroup, none of which has an identity.
fn events(raw: &mut Raw, victim: &Cgroup) -> Result<Vec<String>> {
    let call = json!({
        "method": "io.cgtrace.Watch", "more": true,
        "parameters": {"since_seq": 0, "patterns": [victim.name()]},
    });
    raw.send(&call)?;
    let end = victim.join("end");
    fs::create_dir(&end)?;
    let name = victim.name_of(&end);
    let mut kinds = Vec::new();
    loop {
        let reply = raw.receive()?;
        has_none(&call, &reply)?;
        let event = &reply["parameters"]["event"];
        if let Some(kind) = event["kind"].as_str() {
            kinds.push(kind.to_owned());
        }
        if event["path"] == name.as_str() {
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
                let kind = error.downcast_ref::<io::Error>().context("no error of the system")?.kind();
                Ok(kind == io::ErrorKind::PermissionDenied)
            }
        }
    };
    ensure!(is_refused(ATTACKER, ATTACKER, &[])?, "uid 65534 opened it");
    ensure!(is_refused(ATTACKER, 0, &[0, 1, 4, 6, 27])?, "root's groups opened it");
    ensure!(!is_refused(ATTACKER, DAEMON, &[])?, "its group did not open it");
    ensure!(!is_refused(ATTACKER, ATTACKER, &[DAEMON])?, "its group as a further one did not open it");
    // Root of a user namespace, which may mount and change its groups there, is nobody here.
    let mut attacker = Attacker::start()?;
    let call = json!({"method": "io.cgtrace.Status"});
    let error = attacker.call(&socket, &call).err().context("root of a user namespace opened it")?;
    ensure!(format!("{error:#}").contains("Permission denied"), "{error:#}");
    ensure!(attacker.call(&stage.public_socket(), &call)?["parameters"]["version"].is_string());
    stage.finish()
}
