//! What the daemon reports about the time before its start.

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
        trial("start::existing_cgroups_have_existed_at", existing_cgroups_have_existed_at),
        trial("start::t14_churn_during_the_start_leaves_no_ghost", churn_during_the_start),
        trial("start::many_cgroups_are_known_at_the_first_reply", many_cgroups),
    ]
}

fn existing_cgroups_have_existed_at() -> Outcome {
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

/// Creates, renames (on v1) and removes below a cgroup until dropped.
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
                // Some cgroups stay for a while, so that a scan finds them.
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let window = |number: u64| scope.join(format!("window-{number}"));
                    let _ = fs::create_dir(window(number));
                    let _ = fs::create_dir(window(number).join("inner"));
                    let _ = fs::create_dir(&a);
                    if rename && fs::rename(&a, &b).is_ok() {
                        let _ = fs::remove_dir(&b);
                    } else {
                        let _ = fs::remove_dir(&a);
                    }
                    if let Some(old) = number.checked_sub(20) {
                        let _ = fs::remove_dir(window(old).join("inner"));
                        let _ = fs::remove_dir(window(old));
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

/// KERNEL T14: a scan before attaching, attaching to mkdir before rmdir, and a merge by path or time all fail
/// this test.
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
    let list =
        wire::List { patterns: Some(vec![cgroup.name()]), hierarchy: Some("pids".to_owned()), at: None };
    let listed = client.list(&list)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(listed.len() == COUNT + 1, "{} cgroups instead of {}", listed.len(), COUNT + 1);
    let paths: std::collections::HashSet<_> = listed.iter().map(|cgroup| cgroup.path.clone()).collect();
    ensure!(paths.contains(&Some(cgroup.name_of(&cgroup.join("99/99")))), "a path is missing");
    ensure!(paths.len() == COUNT + 1, "a path is listed twice");
    daemon.verify()
}
