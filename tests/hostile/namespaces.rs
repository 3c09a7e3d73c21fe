//! Paths of a cgroup namespace, and paths that imitate a container's.

use std::{fs, os::unix::fs::chown};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{
    attacker::Attacker,
    stage::{ATTACKER, Stage},
};
use crate::support::{Outcome, cgroup::Cgroup, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("namespaces::paths_start_at_the_real_root", real_root),
        trial("namespaces::a_path_that_imitates_a_container_proves_none", imitation),
    ]
}

fn lookup(path: &str) -> Value {
    json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": [path], "hierarchy": "v2"}})
}

fn is_present(reply: &Value) -> bool {
    reply["parameters"]["results"][0]["present"] == true
}

/// `/` is the machine's root for the attacker, too; its own root has its real path, and `..` is invalid.
fn real_root() -> Outcome {
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    let socket = stage.public_socket();
    let home = attacker.home().name();
    fs::create_dir(attacker.home().join("inner"))?;
    ensure!(is_present(&attacker.call(&socket, &lookup(&home))?));
    ensure!(is_present(&attacker.call(&socket, &lookup(&format!("{home}/inner")))?));
    let own = attacker.call(&socket, &lookup("/inner"))?;
    ensure!(!is_present(&own), "a path of the namespace was resolved on the machine: {own}");
    let root = attacker.call(&socket, &lookup("/"))?;
    let id = |reply: &Value| reply["parameters"]["results"][0]["hierarchies"][0]["current"]["id"].clone();
    ensure!(id(&root) == 1, "{root}");
    for path in ["/..", "/../..", &format!("/../{home}"), &format!("{home}/.."), "/./"] {
        let reply = attacker.call(&socket, &lookup(path))?;
        ensure!(reply.get("error").is_some() || !is_present(&reply), "{path}: {reply}");
    }
    stage.finish()
}

/// Only a path below the runtime's own cgroups proves a pod and a container; a user's subtree does not.
fn imitation() -> Outcome {
    let stage = Stage::start()?;
    let user = Cgroup::new("v2", "hostile-user")?;
    let mut attacker = Attacker::start()?;
    let id = "0123456789abcdef".repeat(4);
    let pod = "kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice";
    let mut inner = user.join("user.slice");
    for part in [
        "user-65534.slice",
        "user@65534.service",
        "kubepods.slice",
        pod,
        &format!("cri-containerd-{id}.scope"),
    ] {
        fs::create_dir_all(&inner)?;
        chown(&inner, Some(ATTACKER), Some(ATTACKER))?;
        inner = inner.join(part);
    }
    fs::create_dir(&inner)?;
    let path = user.name_of(&inner);
    for mut raw in [stage.public(ATTACKER)?, stage.private()?] {
        let reply = raw.call(&lookup(&path))?;
        ensure!(is_present(&reply), "{reply}");
        unproven(&reply["parameters"]["results"][0])?;
    }
    // The same for events, and below the root of its namespace.
    let call = json!({"method": "io.cgtrace.Watch", "more": true,
        "parameters": {"since_seq": 0, "patterns": [user.name()], "kinds": ["mkdir"]}});
    let mut raw = stage.private()?;
    raw.send(&call)?;
    let mut seen = 0;
    while seen < 6 {
        let reply = raw.receive()?;
        ensure!(reply.get("error").is_none(), "{reply}");
        let event = &reply["parameters"]["event"];
        if event.is_object() {
            unproven(event)?;
            seen += 1;
        }
    }
    let below = attacker.home().join("kubepods");
    fs::create_dir(&below)?;
    fs::create_dir(below.join("pod01234567-89ab-cdef-0123-456789abcdef"))?;
    let claimed = below.join("pod01234567-89ab-cdef-0123-456789abcdef").join(&id);
    fs::create_dir(&claimed)?;
    let path = attacker.home().name_of(&claimed);
    unproven(&attacker.call(&stage.public_socket(), &lookup(&path))?["parameters"]["results"][0])?;
    stage.finish()
}

fn unproven(found: &Value) -> Result<()> {
    for key in ["pod_uid", "qos", "container_id", "runtime"] {
        ensure!(found[key].is_null(), "{key} is set: {found}");
    }
    Ok(())
}
