//! Only the socket determines what a client may see. Each socket has separate limits.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{Client, Error};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount},
    clock::rfc3339,
    daemon::{Daemon, open_folder, program},
    fake::Fake,
    peer::connect_as,
    process::put,
    raw::Raw,
    skip, trial,
    verify::ensure_equal,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("sockets::public_replies_contain_no_identities", identities),
        trial("sockets::verify_needs_the_private_socket", verify),
        trial("sockets::root_sees_no_identities_with_only_the_public_directory", public_directory),
        trial("sockets::only_root_and_the_group_can_open_the_private_socket", modes),
        trial("sockets::one_uid_cannot_exhaust_the_public_socket_nor_all_uids_the_private_one", full),
    ]
}

const USER: u32 = 65_534;
const OTHER_USER: u32 = 65_533;

/// The keys of identities, without `pid`: `Status` contains the daemon's.
const IDENTITIES: [&str; 9] =
    ["by", "task", "created_by", "removed_by", "execs", "comm", "uid", "tid", "ppid"];

/// The identities in a reply.
fn identities_of(reply: &Value, found: &mut BTreeSet<String>) {
    match reply {
        Value::Object(members) => {
            for (name, value) in members {
                if IDENTITIES.contains(&name.as_str()) {
                    found.insert(name.clone());
                }
                identities_of(value, found);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| identities_of(element, found)),
        _ => {}
    }
}

fn call(method: &str, parameters: &Value) -> Value {
    json!({"method": format!("io.cgtrace.{method}"), "parameters": parameters})
}

fn watch(parameters: &Value) -> Value {
    json!({"method": "io.cgtrace.Watch", "parameters": parameters, "more": true})
}

/// The replies to a subscriber up to an event of a kind. Runs `act` once the stream has started.
fn watch_until(
    stream: UnixStream,
    parameters: &Value,
    kind: &str,
    act: impl FnOnce() -> Outcome,
) -> Result<Vec<Value>> {
    let mut raw = Raw::new(stream);
    raw.send(&watch(parameters))?;
    let (mut act, mut replies) = (Some(act), Vec::new());
    loop {
        let reply = raw.receive()?;
        let parameters = &reply["parameters"];
        if let (Some(_), Some(act)) =
            (parameters.get("seq"), act.take_if(|_| parameters.get("seq").is_some()))
        {
            act()?;
        }
        let end = parameters["event"]["kind"] == kind;
        replies.push(reply);
        if end {
            return Ok(replies);
        }
    }
}

fn identities() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "identities")?;
    let (path, inner) = (cgroup.name(), cgroup.join("inner"));
    for _ in 0..2 {
        fs::create_dir(&inner)?;
        fs::remove_dir(&inner)?;
    }
    let kubelet = Fake::start("kubelet", "1", &[])?;
    let act = || -> Outcome {
        fs::create_dir(&inner)?;
        put(&inner, "cgroup.procs", kubelet.pid())?;
        put(&mount("v2")?, "cgroup.procs", kubelet.pid())?;
        Ok(fs::remove_dir(&inner)?)
    };
    // Subscribers of both sockets receive the same events.
    let live = json!({"patterns": [path], "hierarchies": ["v2"], "kinds": ["mkdir", "attach", "rmdir"], "snapshot": true});
    let replies = thread::scope(|threads| -> Result<[Vec<Value>; 2]> {
        let public = connect_as(&daemon.public_socket(), USER, USER, &[])?;
        let subscribers = daemon.client()?.status()?.subscriptions;
        let public = threads.spawn(|| watch_until(public, &live, "rmdir", || Ok(())));
        while daemon.client()?.status()?.subscriptions == subscribers {
            thread::sleep(Duration::from_millis(2));
        }
        let private = watch_until(daemon.stream()?, &live, "rmdir", act)?;
        Ok([public.join().map_err(|_| anyhow::anyhow!("the public subscriber panicked"))??, private])
    })?;
    let numbers = |replies: &[Value]| -> Vec<Value> {
        let events = replies.iter().filter_map(|reply| reply.pointer("/parameters/event/seq"));
        events.cloned().collect()
    };
    ensure!(numbers(&replies[0]).len() == 4, "{:?}", replies[0]);
    ensure!(numbers(&replies[0]) == numbers(&replies[1]), "not the same events: {replies:?}");
    let since = replies[1][1]["parameters"]["seq"].as_u64().context("no number")?;
    let [mut public, mut private] = replies.map(|replies| {
        let mut found = BTreeSet::new();
        for reply in &replies {
            identities_of(reply, &mut found);
        }
        found
    });
    fs::create_dir(&inner)?;
    let again = json!({"patterns": [path], "kinds": ["rmdir"], "since_seq": since});
    let at = daemon.row(&cgroup.name_of(&inner), "v2")?.current.context("not present")?;
    let at = rfc3339(at.created_at.context("no creation")?.time)?;
    let calls = [
        call("Lookup", &json!({"paths": [path, cgroup.name_of(&inner)]})),
        call("Lookup", &json!({"paths": [], "ids": [fs::metadata(&inner)?.ino()]})),
        call("List", &json!({"patterns": [path]})),
        call("Wait", &json!({"path": cgroup.name_of(&inner), "state": "present"})),
        call("History", &json!({"paths": [path], "comms": ["kubelet"], "removed_paths": true})),
        call("Log", &json!({"patterns": [path], "since_seq": since})),
        call("Log", &json!({"patterns": [path], "newest_first": true, "max": 3, "boot": "0"})),
        call("Removed", &json!({"patterns": [path], "max": 2})),
        call("Lookup", &json!({"paths": [path, cgroup.name_of(&inner)], "at": at})),
        call("List", &json!({"patterns": [path], "at": at})),
        call("Status", &json!({})),
        call("Metrics", &json!({})),
    ];
    for (is_public, found) in [(true, &mut public), (false, &mut private)] {
        let connect = || {
            if is_public {
                connect_as(&daemon.public_socket(), OTHER_USER, OTHER_USER, &[])
            } else {
                daemon.stream()
            }
        };
        for call in &calls {
            let reply = Raw::new(connect()?).call(call)?;
            ensure!(reply.get("error").is_none(), "{call}: {reply}");
            identities_of(&reply, found);
            // Each has something to tell.
            for list in ["items", "removed", "cgroups", "results"] {
                let list = reply["parameters"].get(list).and_then(Value::as_array);
                ensure!(list.is_none_or(|list| !list.is_empty()), "{call}: {reply}");
            }
            if call["method"] == "io.cgtrace.History" {
                ensure!(
                    reply["parameters"]["moves"].as_array().is_some_and(|moves| moves.len() == 2),
                    "{reply}"
                );
            }
        }
        for reply in watch_until(connect()?, &again, "rmdir", || Ok(()))? {
            identities_of(&reply, found);
        }
        // Selecting by an identity would show it, too.
        let by = call("Log", &json!({"patterns": [path], "by": std::process::id().to_string()}));
        let reply = Raw::new(connect()?).call(&by)?;
        if is_public {
            ensure!(reply["error"] == "io.cgtrace.NotPermitted", "{reply}");
        } else {
            ensure!(
                reply["parameters"]["items"].as_array().is_some_and(|items| !items.is_empty()),
                "{reply}"
            );
        }
    }
    ensure!(public.is_empty(), "identities on the public socket: {public:?}");
    ensure!(private.len() == IDENTITIES.len(), "identities on the private socket: {private:?}");
    Ok(())
}

fn verify() -> Outcome {
    let daemon = Daemon::start()?;
    // For root, too.
    let error = Client::connect_to(&daemon.public_socket())?.verify();
    ensure!(matches!(&error, Err(Error::NotPermitted { reason }) if reason.contains("private")), "{error:?}");
    daemon.verify()
}

/// As in a pod: root, with only the public directory mounted.
fn public_directory() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "public")?;
    let folder = open_folder()?;
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c"])
        .arg(
            "mkdir $2/public && mount --bind $1/public $2/public && mount -t tmpfs none $1 && shift && \
             dir=$1 && shift && exec \"$@\" --runtime-dir $dir",
        )
        .arg("sh")
        .arg(daemon.runtime_dir().path())
        .arg(folder.path())
        .arg(program().get_program())
        .args(["--daemon-only", "--json", "exists", &cgroup.name()])
        .output()?;
    if !output.status.success() && String::from_utf8_lossy(&output.stderr).contains("unshare") {
        return Err(skip("unshare cannot create a mount namespace here"));
    }
    let reply: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let mut found = BTreeSet::new();
    identities_of(&reply, &mut found);
    ensure!(reply.to_string().contains(&cgroup.name()) && found.is_empty(), "{found:?}: {reply}");
    Ok(())
}

fn modes() -> Outcome {
    const GROUP: u32 = 64_321;
    let daemon = Daemon::start()?;
    let refused = connect_as(daemon.socket(), USER, USER, &[]);
    let refused = refused.err().context("any user can open the private socket")?;
    let kind = refused.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    ensure!(kind == Some(ErrorKind::PermissionDenied), "{refused}");
    // The group of its directory can; in the package it is cgtrace.
    for path in [daemon.socket(), daemon.socket().parent().context("no directory")?] {
        std::os::unix::fs::chown(path, None, Some(GROUP))?;
    }
    let mut member = Client::from_stream(connect_as(daemon.socket(), USER, USER, &[1, GROUP])?);
    ensure_equal(&mut member).map(drop)
}

fn full() -> Outcome {
    let daemon = Daemon::start_with(&["--max-public-connections", "8"])?;
    let connect = |uid: u32| connect_as(&daemon.public_socket(), uid, uid, &[]);
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut client = Client::from_stream(connect(USER)?);
        ensure!(client.exists("/")?);
        connections.push(client);
    }
    // The next connection gets the error without a call.
    let refused = |uid: u32, limit: u64| -> Outcome {
        let mut refused = Raw::new(connect(uid)?);
        let reply = refused.receive()?;
        ensure!(reply["error"] == "io.cgtrace.LimitExceeded", "{reply}");
        ensure!(
            reply["parameters"] == json!({"resource": "max_public_connections", "limit": limit}),
            "{reply}"
        );
        ensure!(refused.receive().is_err(), "the connection was not closed");
        Ok(())
    };
    refused(USER, 2)?;
    for uid in [1_001, 1_001, 1_002, 1_002, 1_003, 1_003] {
        let mut client = Client::from_stream(connect(uid)?);
        ensure!(client.exists("/")?, "{uid}");
        connections.push(client);
    }
    refused(OTHER_USER, 8)?;
    for _ in 0..20 {
        ensure!(daemon.client()?.exists("/")?);
    }
    connections.clear();
    let start = Instant::now();
    while !Client::from_stream(connect(USER)?).exists("/").unwrap_or(false) {
        ensure!(start.elapsed() < Duration::from_secs(10), "a closed connection still counts");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
