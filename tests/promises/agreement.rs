//! Answers are exact at the time of the call, and agree with the file system.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agreement::exists_at_once_on_v2", || exists_at_once("v2")),
        trial("agreement::exists_at_once_on_v1", || exists_at_once("pids")),
        trial("agreement::the_command_line_is_as_exact", the_command_line_is_as_exact),
        trial("agreement::stat_agrees_during_churn", stat_agrees_during_churn),
    ]
}

/// Creates and removes cgroups in the background until dropped.
struct Churn {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Churn {
    fn start(scope: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (path, stop) = (scope.join("churn"), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = fs::create_dir(&path);
                    let _ = fs::remove_dir(&path);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

fn exists_at_once(hierarchy: &str) -> Outcome {
    let cgroup = Cgroup::new(hierarchy, "at-once")?;
    let daemon = Daemon::start()?;
    let mut client = daemon.client()?;
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    for round in 0..300 {
        fs::create_dir(&path)?;
        ensure!(client.exists(&name)?, "round {round}: absent after mkdir returned");
        fs::remove_dir(&path)?;
        ensure!(!client.exists(&name)?, "round {round}: present after rmdir returned");
    }
    Ok(())
}

fn the_command_line_is_as_exact() -> Outcome {
    let cgroup = Cgroup::new(any(), "command")?;
    let daemon = Daemon::start()?;
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    for round in 0..20 {
        fs::create_dir(&path)?;
        ensure!(daemon.run(&["exists", "-q", &name])?.status.code() == Some(0), "round {round}: mkdir");
        fs::remove_dir(&path)?;
        ensure!(daemon.run(&["exists", "-q", &name])?.status.code() == Some(1), "round {round}: rmdir");
    }
    Ok(())
}

/// KERNEL 2.1 and 2.2: after the reply `present`, stat finds the path unless a removal has begun since; after
/// `absent`, it does not unless a creation has begun since. The creator counts the operations that it has
/// begun and completed.
fn stat_agrees_during_churn() -> Outcome {
    let cgroup = Cgroup::new(any(), "stat")?;
    let daemon = Daemon::start()?;
    let _churn = Churn::start(cgroup.path());
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    // Odd numbers are creations, even ones removals.
    let begun = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let creator = thread::spawn({
        let (path, stop) = (path.clone(), Arc::clone(&stop));
        let (begun, done) = (Arc::clone(&begun), Arc::clone(&done));
        move || -> std::io::Result<()> {
            while !stop.load(Ordering::SeqCst) {
                begun.fetch_add(1, Ordering::SeqCst);
                fs::create_dir(&path)?;
                done.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(200));
                begun.fetch_add(1, Ordering::SeqCst);
                fs::remove_dir(&path)?;
                done.fetch_add(1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(200));
            }
            Ok(())
        }
    });
    let mut client = daemon.client()?;
    let (mut settled, mut in_flight) = (0, 0);
    let mut outcome = Ok(());
    for _ in 0..20_000 {
        let before = begun.load(Ordering::SeqCst);
        let was_done = done.load(Ordering::SeqCst) == before;
        let reported = client.exists(&name)?;
        let found = path.symlink_metadata().is_ok();
        if begun.load(Ordering::SeqCst) != before {
            continue;
        }
        let created = before % 2 == 1;
        let agrees = if was_done {
            settled += 1;
            reported == created && found == created
        } else {
            // In progress, or completed meanwhile. Once the reply shows its outcome, stat sees it too.
            in_flight += 1;
            reported != created || found == created
        };
        if !agrees {
            outcome = Err(anyhow::anyhow!(
                "reported {reported}, found {found}, created {created}, done {was_done}"
            ));
            break;
        }
    }
    stop.store(true, Ordering::SeqCst);
    creator.join().map_err(|_| anyhow::anyhow!("the creator panicked"))??;
    outcome?;
    ensure!(settled > 100 && in_flight > 100, "{settled} and {in_flight} queries are too few");
    Ok(())
}
