//! Every mkdir and rmdir is reported once, in order, with its exact path and its creator.

use std::fs;

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    events::Follower,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("lifecycle::three_thousand_rounds", three_thousand_rounds),
        trial(
            "lifecycle::an_instance_has_its_creator_and_its_removal",
            an_instance_has_its_creator_and_its_removal,
        ),
    ]
}

fn three_thousand_rounds() -> Outcome {
    const ROUNDS: usize = 3_000;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "rounds")?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["mkdir", "rmdir"])?;
    let (a, b) = (cgroup.join("a"), cgroup.join("a/b"));
    let (name_a, name_b) = (cgroup.name_of(&a), cgroup.name_of(&b));
    let creator = std::thread::spawn({
        let (a, b) = (a.clone(), b.clone());
        move || -> std::io::Result<()> {
            for _ in 0..ROUNDS {
                fs::create_dir(&a)?;
                fs::create_dir(&b)?;
                fs::remove_dir(&b)?;
                fs::remove_dir(&a)?;
            }
            Ok(())
        }
    });
    let expected = [("mkdir", &name_a), ("mkdir", &name_b), ("rmdir", &name_b), ("rmdir", &name_a)];
    let mut seq = 0;
    for round in 0..ROUNDS {
        for (kind, name) in expected {
            let event = follower.next()?;
            ensure!(event.kind == kind, "round {round}: expected {kind} {name}, got {event:?}");
            ensure!(event.path.as_ref() == Some(name), "round {round}: expected {name}, got {event:?}");
            ensure!(event.seq > seq, "round {round}: {} does not follow {seq}", event.seq);
            ensure!(event.hierarchy_id == Some(0) && !event.inferred, "{event:?}");
            let by = event.by.as_ref();
            ensure!(by.is_some_and(|by| by.pid == std::process::id()), "the creator is wrong: {event:?}");
            seq = event.seq;
        }
    }
    creator.join().map_err(|_| anyhow::anyhow!("the creator panicked"))??;
    // Each once: a mark follows the last of them.
    let mark = cgroup.join("mark");
    fs::create_dir(&mark)?;
    let event = follower.next()?;
    ensure!(event.path == Some(cgroup.name_of(&mark)), "something was reported twice: {event:?}");
    Ok(())
}

fn an_instance_has_its_creator_and_its_removal() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "instance")?;
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    fs::create_dir(&path)?;
    let id = crate::support::cgroup::id(&path)?;
    let row = daemon.row(&name, any())?;
    let instance = row.current.as_ref().ok_or_else(|| anyhow::anyhow!("no instance in {row:?}"))?;
    ensure!(row.present && instance.id == id, "{row:?}");
    let created_at = instance.created_at.as_ref().map(|created_at| created_at.boot_ns).unwrap_or_default();
    ensure!(created_at > row.observed_since.boot_ns && instance.existed_at.is_none(), "{row:?}");
    ensure!(
        instance.created_by.as_ref().is_some_and(|by| by.pid == std::process::id() && by.uid == Some(0)),
        "{row:?}"
    );
    fs::remove_dir(&path)?;
    fs::create_dir(&path)?;
    fs::remove_dir(&path)?;
    let row = daemon.row(&name, any())?;
    ensure!(!row.present && row.current.is_none() && row.previous.len() == 2, "{row:?}");
    ensure!(row.previous[1].id == id && row.previous[0].id != id, "newest first, by id: {row:?}");
    for previous in &row.previous {
        let (created_at, removed_at) = (previous.created_at.as_ref(), previous.removed_at.as_ref());
        ensure!(
            created_at
                .zip(removed_at)
                .is_some_and(|(created_at, removed_at)| created_at.boot_ns < removed_at.boot_ns),
            "{previous:?}"
        );
        ensure!(previous.removed_by.as_ref().is_some_and(|by| by.pid == std::process::id()), "{previous:?}");
    }
    Ok(())
}
