//! Looking up and waiting is open to all; who did what is told to root, to the group `cgtrace`, and to the uid
//! concerned. What one may not be told is left out, and the stream goes on.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    process::Command,
};

use anyhow::{Result, ensure};
use cgtrace_client::{Client, Until, Watched, wire};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::{Daemon, open_folder, program},
    peer::connect_as,
    process::{Sleeper, put},
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("access::everyone_may_look_up_list_and_wait", open_to_all),
        trial("access::identities_are_left_out_and_the_stream_goes_on", left_out),
        trial("access::the_group_cgtrace_is_told_everything", group),
        trial("access::one_uid_cannot_take_every_connection", connections_of_one_uid),
    ]
}

const NOBODY: u32 = 65_534;
const OTHER: u32 = 65_533;

fn as_uid(daemon: &Daemon, uid: u32) -> Result<Client> {
    Ok(Client::from_stream(connect_as(&daemon.public_socket(), uid, uid, &[])?))
}

/// Makes a cgroup as another user.
fn mkdir_as(uid: u32, path: &std::path::Path) -> Outcome {
    ensure!(Command::new("mkdir").arg(path).uid(uid).gid(uid).status()?.success(), "mkdir as {uid} failed");
    Ok(())
}

fn lookup(name: &str, detail: bool) -> wire::Lookup {
    wire::Lookup {
        names: vec![name.to_owned()],
        hierarchy: Some(any().to_owned()),
        detail: detail.then_some(true),
        ..wire::Lookup::default()
    }
}

fn row(client: &mut Client, name: &str, detail: bool) -> Result<wire::Row> {
    let answers = client.lookup(&lookup(name, detail))?.answers;
    answers
        .into_iter()
        .flat_map(|answer| answer.rows)
        .next()
        .ok_or_else(|| anyhow::anyhow!("no row for {name}"))
}

fn open_to_all() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "open")?;
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    let mut client = as_uid(&daemon, NOBODY)?;
    let told = row(&mut client, &cgroup.name(), true)?;
    ensure!(told.present && told.populated == Some(true), "{told:?}");
    // That it exists, and since when, but not who made it and who is in it: that was root.
    let life = told.life.as_ref().ok_or_else(|| anyhow::anyhow!("no life: {told:?}"))?;
    ensure!(life.born.is_some() && life.made_by.is_none(), "{told:?}");
    ensure!(told.members.as_deref() == Some(&[]) && told.members_left_out.is_none(), "{told:?}");
    let roots = row(&mut daemon.client()?, &cgroup.name(), true)?;
    ensure!(roots.life.is_some_and(|life| life.made_by.is_some_and(|by| by.uid == Some(0))));
    ensure!(roots.members.is_some_and(|members| members.iter().any(|task| task.pid == sleeper.pid())));

    ensure!(client.wait(&cgroup.name(), Until::Present, None)?.held);
    let list = wire::List { patterns: Some(vec![cgroup.name()]), ..wire::List::default() };
    let listed = client.list(&list)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(listed.len() == 1 && listed[0].made_by.is_none(), "{listed:?}");
    ensure!(client.status()?.pid == daemon.pid());
    ensure!(client.verify()?.equal);
    ensure!(client.metrics()?.text.contains("cgtrace_cgroups"));
    Ok(())
}

/// The events below a name up to the making of `end`, as one user is told them.
fn told(client: Client, below: &str, end: &str, act: impl FnOnce() -> Outcome) -> Result<Vec<wire::Event>> {
    let watch = wire::Watch {
        patterns: Some(vec![below.to_owned()]),
        kinds: Some(["mkdir", "rmdir", "attach"].map(str::to_owned).to_vec()),
        hierarchies: Some(vec![any().to_owned()]),
        ..wire::Watch::default()
    };
    let watching = client.watch(&watch)?;
    let mut act = Some(act);
    let mut events = Vec::new();
    for watched in watching {
        match watched? {
            Watched::Started { .. } => {
                if let Some(act) = act.take() {
                    act()?;
                }
            }
            Watched::Event(event) if event.path.as_deref() == Some(end) => return Ok(events),
            Watched::Event(event) => events.push(*event),
            other => anyhow::bail!("{other:?}"),
        }
    }
    anyhow::bail!("the stream ended")
}

fn left_out() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "identities")?;
    let name = cgroup.name();
    let end = format!("{name}/end");
    let sleeper = Sleeper::start()?;
    let act = || -> Outcome {
        // By root; then a place in which nobody may make cgroups, and one that nobody makes.
        fs::create_dir(cgroup.join("roots"))?;
        put(&cgroup.join("roots"), "cgroup.procs", sleeper.pid())?;
        fs::create_dir(cgroup.join("shared"))?;
        chown(cgroup.join("shared"), Some(NOBODY), Some(NOBODY))?;
        mkdir_as(NOBODY, &cgroup.join("shared/nobodys"))?;
        fs::create_dir(cgroup.join("end"))?;
        Ok(())
    };
    // The same events are told to root, to the uid concerned, and to a third one who comes back for them.
    let roots = told(daemon.client()?, &name, &end, act)?;
    let since = roots.first().map(|event| event.seq - 1);
    let again = |client: Client| -> Result<Vec<wire::Event>> {
        let watch = wire::Watch {
            patterns: Some(vec![name.clone()]),
            kinds: Some(["mkdir", "rmdir", "attach"].map(str::to_owned).to_vec()),
            since_seq: since,
            ..wire::Watch::default()
        };
        let mut events = Vec::new();
        for watched in client.watch(&watch)? {
            match watched? {
                Watched::Event(event) if event.path.as_deref() == Some(&end) => return Ok(events),
                Watched::Event(event) => events.push(*event),
                _ => {}
            }
        }
        anyhow::bail!("the stream ended")
    };
    let nobodys = again(as_uid(&daemon, NOBODY)?)?;
    let others = again(as_uid(&daemon, OTHER)?)?;
    ensure!(roots.len() >= 4, "{roots:?}");
    let numbers = |events: &[wire::Event]| -> Vec<(u64, String)> {
        events.iter().map(|event| (event.seq, event.kind.clone())).collect()
    };
    ensure!(
        numbers(&roots) == numbers(&nobodys) && numbers(&roots) == numbers(&others),
        "events are missing"
    );
    for ((root, nobody), other) in roots.iter().zip(&nobodys).zip(&others) {
        let by = root.by.as_ref().ok_or_else(|| anyhow::anyhow!("root is not told who: {root:?}"))?;
        ensure!(root.kind != "attach" || root.task.is_some(), "root is not told whom: {root:?}");
        ensure!(other.by.is_none() && other.task.is_none(), "told to a stranger: {other:?}");
        if by.uid == Some(NOBODY) {
            ensure!(nobody.by.as_ref() == Some(by), "not told to the one concerned: {nobody:?}");
        } else {
            ensure!(nobody.by.is_none() && nobody.task.is_none(), "told to a stranger: {nobody:?}");
        }
    }
    ensure!(
        roots.iter().any(|event| event.by.as_ref().is_some_and(|by| by.uid == Some(NOBODY))),
        "{roots:?}"
    );
    let made_by = |uid: u32| -> Result<_> {
        let row = row(&mut as_uid(&daemon, uid)?, &format!("{name}/shared/nobodys"), false)?;
        Ok(row.life.and_then(|life| life.made_by))
    };
    ensure!(made_by(NOBODY)?.is_some_and(|by| by.uid == Some(NOBODY) && by.comm == "mkdir"));
    ensure!(made_by(OTHER)?.is_none());
    Ok(())
}

/// A daemon that finds a group of ours in its /etc/group.
fn group() -> Outcome {
    const GROUP: u32 = 64_321;
    let folder = open_folder()?;
    let groups = folder.path().join("group");
    fs::write(&groups, format!("root:x:0:\ncgtrace:x:{GROUP}:\n"))?;
    let mut command = Command::new("unshare");
    command
        .args([
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            "mount --bind \"$1\" /etc/group && shift && exec \"$@\"",
            "sh",
        ])
        .arg(&groups)
        .arg(program().get_program())
        .arg("--runtime-dir")
        .arg(folder.path())
        .arg("daemon")
        .env("CGTRACE_LOG", "warn");
    if Command::new("unshare").args(["-m", "true"]).status().map_or(true, |status| !status.success()) {
        return Err(skip("unshare makes no mount namespace here"));
    }
    let mut daemon = Daemon::spawn_by(&mut command, folder)?;
    daemon.wait_ready()?;
    let cgroup = Cgroup::new(any(), "group")?;
    let is_told = |gid: u32, groups: &[u32]| -> Result<bool> {
        let mut client = Client::from_stream(connect_as(&daemon.public_socket(), NOBODY, gid, groups)?);
        let row = row(&mut client, &cgroup.name(), false)?;
        ensure!(row.present, "{row:?}");
        Ok(row.life.is_some_and(|life| life.made_by.is_some()))
    };
    ensure!(is_told(GROUP, &[])?, "its own group");
    ensure!(is_told(NOBODY, &[1, GROUP, 2])?, "a supplementary group");
    ensure!(!is_told(NOBODY, &[1, 2])?, "another group");
    Ok(())
}

fn connections_of_one_uid() -> Outcome {
    let daemon = Daemon::start_with(&["--connections-per-uid", "3"])?;
    let mut kept = Vec::new();
    for _ in 0..3 {
        let mut client = as_uid(&daemon, NOBODY)?;
        ensure!(client.exists("/")?);
        kept.push(client);
    }
    // The next one is told why, unasked.
    let mut refused =
        crate::support::raw::Raw::new(connect_as(&daemon.public_socket(), NOBODY, NOBODY, &[])?);
    let reply = refused.receive()?;
    ensure!(reply["error"] == "io.cgtrace.LimitExceeded" && reply["parameters"]["limit"] == 3, "{reply}");
    ensure!(refused.receive().is_err(), "it was not closed");
    // Others are served, and so is that uid when it has let one go.
    ensure!(as_uid(&daemon, OTHER)?.exists("/")?);
    for _ in 0..10 {
        ensure!(daemon.client()?.exists("/")?);
    }
    kept.pop();
    for _ in 0..1_000 {
        if as_uid(&daemon, NOBODY)?.exists("/").unwrap_or(false) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    anyhow::bail!("a connection that was closed still counts")
}
