//! A v1 rename: the same instance by both paths, with all its descendants.

use std::fs;

use anyhow::{Context as _, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::Daemon,
    events::Follower,
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("rename::the_same_instance_by_both_paths", the_same_instance_by_both_paths),
        trial("rename::a_move_between_children_of_a_renamed_cgroup_is_stored", a_move_between_children),
    ]
}

fn the_same_instance_by_both_paths() -> Outcome {
    let cgroup = Cgroup::new("pids", "rename")?;
    let daemon = Daemon::start()?;
    let (a, b) = (cgroup.join("a"), cgroup.join("b"));
    fs::create_dir(&a)?;
    fs::create_dir(a.join("child"))?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &[])?;
    let original = daemon.row(&cgroup.name_of(&a), "pids")?.current.context("no instance")?;
    fs::rename(&a, &b)?;
    let event = follower.next_of("rename")?;
    ensure!(event.path == Some(cgroup.name_of(&b)), "{event:?}");
    ensure!(event.from.as_ref().and_then(|from| from.path.clone()) == Some(cgroup.name_of(&a)), "{event:?}");
    ensure!(event.by.as_ref().is_some_and(|by| by.pid == std::process::id()), "{event:?}");
    let instance = daemon.row(&cgroup.name_of(&b), "pids")?.current.context("no instance at the new path")?;
    ensure!(
        instance.id == original.id && instance.created_at == original.created_at,
        "not the same instance: {instance:?}"
    );
    ensure!(!daemon.row(&cgroup.name_of(&a), "pids")?.present, "the old path is still present");
    // KERNEL T5: the child has no event.
    ensure!(daemon.row(&cgroup.name_of(&b.join("child")), "pids")?.present);
    ensure!(!daemon.row(&cgroup.name_of(&a.join("child")), "pids")?.present);
    daemon.verify()?;
    fs::remove_dir(b.join("child"))?;
    let event = follower.next_of("rmdir")?;
    ensure!(event.path == Some(cgroup.name_of(&b.join("child"))), "{event:?}");
    Ok(())
}

fn a_move_between_children() -> Outcome {
    let cgroup = Cgroup::new("pids", "rename-move")?;
    let daemon = Daemon::start()?;
    let (parent, renamed) = (cgroup.join("parent"), cgroup.join("renamed"));
    fs::create_dir(&parent)?;
    let sleeper = Sleeper::start()?;
    for child in ["from", "to"] {
        fs::create_dir(parent.join(child))?;
    }
    put(&parent.join("from"), "cgroup.procs", sleeper.pid())?;
    fs::rename(&parent, &renamed)?;
    put(&renamed.join("to"), "cgroup.procs", sleeper.pid())?;
    // Its answer contains every event before it.
    let log = wire::Log { patterns: Some(vec![cgroup.name()]), ..wire::Log::default() };
    let items = daemon.client()?.log(&log)?.collect::<Result<Vec<_>, _>>()?;
    let moves: Vec<_> =
        items.iter().filter_map(|item| item.event.as_ref()).filter(|event| event.kind == "attach").collect();
    let [.., last] = &moves[..] else { anyhow::bail!("{items:?}") };
    ensure!(last.path == Some(cgroup.name_of(&renamed.join("to"))), "{last:?}");
    let from = last.from.as_ref().and_then(|from| from.path.clone());
    ensure!(from == Some(cgroup.name_of(&renamed.join("from"))), "{last:?}");
    let history = daemon.client()?.status()?.history;
    ensure!(history.failure.is_none() && history.missing.is_empty(), "{history:?}");
    Ok(())
}
