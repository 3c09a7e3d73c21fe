//! Delegated subtrees, user managers, and a system manager that re-executes itself.

use std::{fs::File, io::Write as _};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::support::{Outcome, daemon::Daemon, events::Follower, systemd::Boot, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("managers::a_delegated_subtree_belongs_to_its_owner", a_delegated_subtree_belongs_to_its_owner),
        trial("managers::a_user_manager_creates_its_units", a_user_manager_creates_its_units),
        trial("managers::a_reexec_creates_and_removes_nothing", a_reexec_creates_and_removes_nothing),
    ]
}

fn a_delegated_subtree_belongs_to_its_owner() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("delegate").start()?;
    systemd.unit(
        "agent.service",
        "[Service]\nType=exec\nDelegate=yes\n\
         ExecStart=/bin/sh -c 'cd /sys/fs/cgroup/system.slice/agent.service && mkdir inner \
         && echo 0 > inner/cgroup.procs && exec sleep 1000'\n",
    )?;
    let unit = systemd.name("/system.slice/agent.service");
    let inner = format!("{unit}/inner");
    let mut events = Follower::below(&daemon, &unit, &["mkdir", "attach", "rmdir"])?;
    systemd.run(&["systemctl", "start", "agent.service"])?;

    let created = events.next_of("mkdir")?;
    ensure!(created.path.as_ref() == Some(&unit), "{created:?}");
    ensure!(created.by.as_ref().is_some_and(|by| by.pid == systemd.init()), "{created:?}");
    let created = events.next_of("mkdir")?;
    ensure!(created.path.as_ref() == Some(&inner), "{created:?}");
    let by = created.by.as_ref().context("no creator")?;
    // mkdir is a separate process; its parent is the unit's main process, in the unit's own cgroup.
    ensure!(by.comm == "mkdir" && by.cgroup.as_ref() == Some(&unit), "{created:?}");
    let moved = loop {
        let event = events.next_of("attach")?;
        if event.path.as_ref() == Some(&inner) {
            break event;
        }
    };
    let (task, mover) = (moved.task.as_ref().context("no task")?, moved.by.as_ref().context("no mover")?);
    ensure!(task.pid == mover.pid && Some(task.pid) == by.ppid, "it moved itself: {moved:?}");
    ensure!(moved.from.as_ref().and_then(|from| from.path.as_ref()) == Some(&unit), "{moved:?}");
    // systemd still reports the same cgroup for the unit, whatever is below.
    ensure!(systemd.name(&systemd.show("agent.service", "ControlGroup")?) == unit);

    systemd.run(&["systemctl", "stop", "agent.service"])?;
    for expected in [&inner, &unit] {
        let removed = events.next_of("rmdir")?;
        ensure!(removed.path.as_ref() == Some(expected), "{removed:?}");
        ensure!(removed.by.as_ref().is_some_and(|by| by.pid == systemd.init()), "{removed:?}");
    }
    Ok(())
}

fn a_user_manager_creates_its_units() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("user").start()?;
    for (file, line) in [
        ("/etc/passwd", "ann:x:4711:4711::/tmp:/bin/sh\n"),
        ("/etc/group", "ann:x:4711:\n"),
        ("/etc/shadow", "ann:*:20000:0:99999:7:::\n"),
    ] {
        File::options().append(true).open(systemd.path(file))?.write_all(line.as_bytes())?;
    }
    let manager = "/user.slice/user-4711.slice/user@4711.service";
    let mut events = Follower::below(&daemon, &systemd.name("/"), &["mkdir", "rmdir"])?;
    systemd.run(&["systemctl", "start", "user@4711.service"])?;
    ensure!(systemd.show("user-4711.slice", "ControlGroup")? == "/user.slice/user-4711.slice");
    ensure!(systemd.show("user@4711.service", "ControlGroup")? == manager);
    let created = loop {
        let event = events.next_of("mkdir")?;
        if event.path == Some(systemd.name(manager)) {
            break event;
        }
    };
    ensure!(created.by.as_ref().is_some_and(|by| by.pid == systemd.init()), "{created:?}");

    let as_user = |words: &[&str]| {
        let mut all = vec!["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"];
        all.extend(["env", "XDG_RUNTIME_DIR=/run/user/4711"]);
        all.extend(words);
        systemd.run(&all)
    };
    as_user(&["systemd-run", "--user", "--quiet", "--unit=mine.service", "sleep", "1000"])?;
    let control_group =
        as_user(&["systemctl", "--user", "show", "--value", "-p", "ControlGroup", "mine.service"])?;
    ensure!(control_group == format!("{manager}/app.slice/mine.service"), "{control_group}");
    let created = loop {
        let event = events.next_of("mkdir")?;
        if event.path.as_ref().is_some_and(|path| path.ends_with("/mine.service")) {
            break event;
        }
    };
    ensure!(created.path == Some(systemd.name(&control_group)), "{created:?}");
    // The creator is the user's manager, with the user's rights, not PID 1.
    let by = created.by.as_ref().context("no creator")?;
    ensure!(by.comm == "systemd" && by.uid == Some(4711) && by.pid != systemd.init(), "{by:?}");
    ensure!(by.cgroup == Some(systemd.name(&format!("{manager}/init.scope"))), "{by:?}");

    // Everything is removed with the manager.
    systemd.run(&["systemctl", "stop", "user@4711.service"])?;
    loop {
        let event = events.next_of("rmdir")?;
        if event.path == Some(systemd.name(manager)) {
            break;
        }
    }
    ensure!(!daemon.row(&systemd.name(&control_group), "v2")?.present);
    daemon.verify()
}

fn a_reexec_creates_and_removes_nothing() -> Outcome {
    let daemon = Daemon::start()?;
    let systemd = Boot::new("reexec").start()?;
    systemd.unit("idle.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    systemd.run(&["systemctl", "start", "idle.service"])?;
    let name = systemd.name("/system.slice/idle.service");
    let before = daemon.row(&name, "v2")?.current.context("not present")?;
    let mut events = Follower::below(&daemon, &systemd.name("/"), &["mkdir", "rmdir"])?;
    systemd.run(&["systemctl", "daemon-reexec"])?;
    // The new systemd, with the same pid, adopts the cgroups of the old one.
    ensure!(systemd.name(&systemd.show("idle.service", "ControlGroup")?) == name);
    let after = daemon.row(&name, "v2")?.current.context("no longer present")?;
    ensure!((after.id, after.created_at) == (before.id, before.created_at));
    systemd.run(&["systemctl", "start", "mark.slice"])?;
    for event in events.until_made(&systemd.name("/mark.slice"))? {
        ensure!(event.path.as_ref() != Some(&name), "{event:?}");
    }
    systemd.run(&["systemctl", "stop", "idle.service"])?;
    let removed = events.next_of("rmdir")?;
    ensure!(removed.path.as_ref() == Some(&name) && removed.id == Some(before.id), "{removed:?}");
    ensure!(removed.by.as_ref().is_some_and(|by| by.pid == systemd.init()), "{removed:?}");
    Ok(())
}
