//! What the daemon knows of the time before it: exactly that much, and nothing that is not so.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::{Context as _, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("start::what_was_there_is_told_as_before", what_was_there_is_told_as_before),
        trial("start::t14_churn_during_the_start_leaves_no_ghost", churn_during_the_start),
        trial("start::many_cgroups_are_known_at_the_first_answer", many_cgroups),
    ]
}

fn what_was_there_is_told_as_before() -> Outcome {
    let cgroup = Cgroup::new(any(), "before")?;
    let daemon = Daemon::start()?;
    let row = daemon.row(&cgroup.name(), any())?;
    let instance = row.current.context("not present")?;
    ensure!(instance.id == cgroup.id()?, "{instance:?}");
    ensure!(
        instance.created_at.is_none() && instance.created_by.is_none(),
        "a time or a creator was made up: {instance:?}"
    );
    ensure!(instance.existed_at == Some(row.observed_since), "{instance:?}");
    let absent = daemon.row(&format!("{}-never", cgroup.name()), any())?;
    ensure!(!absent.present && absent.previous.is_empty() && absent.observed_since.boot_ns > 0, "{absent:?}");
    Ok(())
}

/// Makes, renames (on v1) and removes below a cgroup until dropped.
struct Churn {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Churn {
    fn start(scope: PathBuf, rename: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let (a, b) = (scope.join("a"), scope.join("b"));
                // A window of cgroups that stay for a while, so that a walk meets some of them.
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let kept = |number: u64| scope.join(format!("kept-{number}"));
                    let _ = fs::create_dir(kept(number));
                    let _ = fs::create_dir(kept(number).join("inner"));
                    let _ = fs::create_dir(&a);
                    if rename && fs::rename(&a, &b).is_ok() {
                        let _ = fs::remove_dir(&b);
                    } else {
                        let _ = fs::remove_dir(&a);
                    }
                    if let Some(old) = number.checked_sub(20) {
                        let _ = fs::remove_dir(kept(old).join("inner"));
                        let _ = fs::remove_dir(kept(old));
                    }
                    number += 1;
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

/// KERNEL T14: neither walking before attaching, nor attaching to makings before removals, nor a merge by path or
/// time gets through this.
fn churn_during_the_start() -> Outcome {
    let unified = Cgroup::new("v2", "churn")?;
    let pids = Cgroup::new("pids", "churn")?;
    let churns = [Churn::start(unified.path().to_owned(), false), Churn::start(pids.path().to_owned(), true)];
    for round in 0..50 {
        let daemon = Daemon::start()?;
        daemon.verify().with_context(|| format!("round {round}"))?;
    }
    drop(churns);
    let daemon = Daemon::start()?;
    daemon.verify()
}

fn many_cgroups() -> Outcome {
    const COUNT: usize = 10_000;
    let cgroup = Cgroup::new("pids", "many")?;
    for number in 0..COUNT / 100 {
        let outer = cgroup.join(format!("{number}"));
        fs::create_dir(&outer)?;
        for number in 1..100 {
            fs::create_dir(outer.join(format!("{number}")))?;
        }
    }
    let daemon = Daemon::start()?;
    let mut client = daemon.client()?;
    let list = wire::List { patterns: Some(vec![cgroup.name()]), hierarchy: Some("pids".to_owned()) };
    let listed = client.list(&list)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(listed.len() == COUNT + 1, "{} instead of {}", listed.len(), COUNT + 1);
    let paths: std::collections::HashSet<_> = listed.iter().map(|cgroup| cgroup.path.clone()).collect();
    ensure!(paths.contains(&Some(cgroup.name_of(&cgroup.join("99/99")))), "a path is missing");
    ensure!(paths.len() == COUNT + 1, "a path stands twice");
    daemon.verify()
}
