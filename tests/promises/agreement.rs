//! Answers are exact in the present, and agree with the file system.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::ensure;
use libtest_mimic::Trial;

use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("agreement::exists_at_once_on_v2", || exists_at_once("v2")),
        trial("agreement::exists_at_once_on_v1", || exists_at_once("pids")),
        trial("agreement::the_command_line_is_as_exact", the_command_line_is_as_exact),
        trial("agreement::stat_agrees_while_others_churn", stat_agrees_while_others_churn),
    ]
}

/// Made and removed in the background until dropped.
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
    let cgroup = Cgroup::new("v2", "command")?;
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

/// Whoever is told "present" and stats finds it, unless a removal has begun since; whoever is told "absent" does
/// not, unless a making has begun since. The maker says what it has begun and what it has done.
fn stat_agrees_while_others_churn() -> Outcome {
    use std::sync::atomic::AtomicU64;
    let cgroup = Cgroup::new("v2", "stat")?;
    let daemon = Daemon::start()?;
    let _churn = Churn::start(cgroup.path());
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    // Even: absent; odd: present; a change has begun when `begun` is ahead of `done`.
    let begun = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let maker = thread::spawn({
        let (path, begun, stop) = (path.clone(), Arc::clone(&begun), Arc::clone(&stop));
        move || -> std::io::Result<()> {
            while !stop.load(Ordering::SeqCst) {
                begun.fetch_add(1, Ordering::SeqCst);
                fs::create_dir(&path)?;
                thread::yield_now();
                begun.fetch_add(1, Ordering::SeqCst);
                fs::remove_dir(&path)?;
            }
            Ok(())
        }
    });
    let mut client = daemon.client()?;
    let (mut present, mut absent) = (0, 0);
    let mut outcome = Ok(());
    for _ in 0..20_000 {
        let before = begun.load(Ordering::SeqCst);
        let told = client.exists(&name)?;
        let found = path.symlink_metadata().is_ok();
        let after = begun.load(Ordering::SeqCst);
        if told != found && before == after {
            outcome = Err(anyhow::anyhow!("told {told}, found {found}, and nothing had begun since"));
            break;
        }
        if before == after {
            if told { present += 1 } else { absent += 1 }
        }
    }
    stop.store(true, Ordering::SeqCst);
    maker.join().map_err(|_| anyhow::anyhow!("the maker panicked"))??;
    outcome?;
    ensure!(present + absent > 0, "no question fell between two changes: nothing was tested");
    Ok(())
}
