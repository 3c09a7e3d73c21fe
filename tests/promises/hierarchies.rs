//! Hierarchies that come and go while the daemon runs, and those that are not mounted here.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{Outcome, daemon::Daemon, events::Follower, named::Named, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("hierarchies::mounted_and_unmounted_while_running", mounted_and_unmounted_while_running),
        trial("hierarchies::mounted_while_the_daemon_is_stopped", mounted_while_stopped),
        trial("hierarchies::one_that_is_not_mounted_is_known_from_events", one_that_is_not_mounted),
    ]
}

fn status_of(daemon: &Daemon, hierarchy: &str) -> Result<Option<wire::HierarchyStatus>> {
    let status = daemon.client()?.status()?;
    Ok(status.hierarchies.into_iter().find(|state| state.hierarchy == hierarchy))
}

fn mounted_and_unmounted_while_running() -> Outcome {
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, "/", &["root-added", "root-removed"])?;
    let named = Named::mount()?;
    // Another test may mount one at the same time.
    let event = loop {
        let event = follower.next_of("root-added")?;
        if event.hierarchy == Some(named.hierarchy()) {
            break event;
        }
    };
    let path = named.path().join("cgtrace-test-in-new");
    fs::create_dir(&path)?;
    let row = daemon.row("/cgtrace-test-in-new", &named.hierarchy())?;
    // All of it was seen from its birth: nothing in it is "before".
    let life = row.life.as_ref().context("it has no life")?;
    ensure!(row.present && row.walked && life.born.is_some(), "{row:?}");
    fs::remove_dir(&path)?;
    daemon.verify()?;
    let state = status_of(&daemon, &named.hierarchy())?.context("not in the status")?;
    ensure!(state.mount.as_deref() == named.path().to_str(), "{state:?}");
    ensure!(named.end(), "the kernel did not let go of it");
    let hierarchy = event.hierarchy_id;
    loop {
        let event = follower.next_of("root-removed").with_context(|| {
            format!("no root-removed; the status says {:?}", status_of(&daemon, &named.hierarchy()))
        })?;
        if event.hierarchy_id == hierarchy {
            break;
        }
    }
    ensure!(status_of(&daemon, &named.hierarchy())?.is_none(), "it is still there");
    Ok(())
}

/// The mount table shows it at the same time as the record of it is read: it is told once, and from its birth.
fn mounted_while_stopped() -> Outcome {
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, "/", &["root-added"])?;
    for _ in 0..8 {
        daemon.signal(Signal::STOP)?;
        let named = Named::mount();
        daemon.signal(Signal::CONT)?;
        let named = named?;
        let event = loop {
            let event = follower.next_of("root-added")?;
            if event.hierarchy == Some(named.hierarchy()) {
                break event;
            }
        };
        ensure!(event.by.as_ref().is_some_and(|by| by.comm == "mount") && !event.inferred, "{event:?}");
        ensure!(named.end(), "the kernel did not let go of it");
    }
    Ok(())
}

/// KERNEL 5.4: a v1 hierarchy with children survives umount(2).
fn one_that_is_not_mounted() -> Outcome {
    let named = Named::mount()?;
    let outer = named.path().join("cgtrace-test-outer");
    fs::create_dir(&outer)?;
    named.unmount()?;
    let daemon = Daemon::start()?;
    let state = status_of(&daemon, &named.hierarchy())?.context("/proc/self/cgroup lists it")?;
    ensure!(!state.walked && state.mount.is_none(), "{state:?}");
    ensure!(state.note.as_deref().is_some_and(|note| note.contains("not mounted")), "{state:?}");
    let row = daemon.row("/cgtrace-test-outer", &named.hierarchy())?;
    ensure!(!row.present && !row.walked, "it cannot be known here, and that is said: {row:?}");
    // Mounted again, it is walked: nothing but the mount table tells of that.
    named.mount_again()?;
    for _ in 0..200 {
        if daemon.row("/cgtrace-test-outer", &named.hierarchy())?.present {
            let row = daemon.row("/cgtrace-test-outer", &named.hierarchy())?;
            ensure!(
                row.life.as_ref().is_some_and(|life| life.before.is_some() && life.born.is_none()),
                "{row:?}"
            );
            return daemon.verify();
        }
        thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("it was never walked")
}
