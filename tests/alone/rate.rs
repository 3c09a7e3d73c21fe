//! The kernel's top event rate, and a daemon that is killed under that load.

use std::{
    fs,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cgtrace_client::{Client, RuntimeDir};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    bpffs::Bpffs,
    cgroup::Cgroup,
    daemon::{Daemon, program},
    trial,
    verify::ensure_equal,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("rate::a_million_events_without_loss", million),
        trial("rate::killed_a_hundred_times_under_load", || killed(None)),
        trial("rate::killed_a_hundred_times_under_load_with_pins", || {
            let bpffs = Bpffs::mount()?;
            killed(Some(&bpffs.pins()))
        }),
    ]
}

fn pairs(path: &Path, count: u64) -> std::io::Result<()> {
    for _ in 0..count {
        fs::create_dir(path)?;
        fs::remove_dir(path)?;
    }
    Ok(())
}

/// On two CPUs at once, with default ring sizes.
fn million() -> Outcome {
    const EVENTS: u64 = 1_000_000;
    let daemon = Daemon::start()?;
    let scopes = [Cgroup::new("v2", "million")?, Cgroup::new("pids", "million")?];
    let before = daemon.client()?.status()?;
    let start = Instant::now();
    thread::scope(|threads| -> Outcome {
        let creators = scopes.each_ref().map(|scope| threads.spawn(|| pairs(&scope.join("x"), EVENTS / 4)));
        for creator in creators {
            creator.join().map_err(|_| anyhow::anyhow!("a creator panicked"))??;
        }
        Ok(())
    })?;
    let rate = u128::from(EVENTS) * 1_000 / start.elapsed().as_millis().max(1);
    let after = daemon.client()?.status()?;
    let ring = |status: &cgtrace_client::wire::Status| {
        status
            .rings
            .iter()
            .find(|ring| ring.name == "lifecycle")
            .map(|ring| (ring.records, ring.lost))
            .context("no ring")
    };
    let ((read_before, _), (read, lost)) = (ring(&before)?, ring(&after)?);
    println!("{rate:.0} events a second");
    ensure!(lost == 0 && after.resyncs == 0, "{lost} records lost, {} resyncs", after.resyncs);
    ensure!(read - read_before >= EVENTS, "{} records of {EVENTS}", read - read_before);
    daemon.verify()
}

/// `kill -9` at any moment never prevents the next start, and the index is exact after each start.
fn killed(pins: Option<&Path>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let runtime_dir = RuntimeDir::new(folder.path());
    let scope = Cgroup::new("v2", "killed")?;
    let stop = AtomicBool::new(false);
    thread::scope(|threads| -> Outcome {
        let creator = threads.spawn(|| -> std::io::Result<()> {
            while !stop.load(Ordering::Relaxed) {
                pairs(&scope.join("x"), 100)?;
            }
            Ok(())
        });
        let outcome = (0..100_u64).try_for_each(|round| start_and_kill(&runtime_dir, pins, round));
        stop.store(true, Ordering::Relaxed);
        creator.join().map_err(|_| anyhow::anyhow!("the creator panicked"))??;
        outcome
    })
}

fn start_and_kill(runtime_dir: &RuntimeDir, pins: Option<&Path>, round: u64) -> Outcome {
    if let Some(folder) = pins
        && round % 8 == 3
    {
        // So that one is killed while it pins.
        fs::remove_dir_all(folder)?;
    }
    let mut daemon = program()
        .arg("--runtime-dir")
        .arg(runtime_dir.path())
        .arg("daemon")
        .args(pins.map(|folder| ["--pin".as_ref(), folder.as_os_str()]).into_iter().flatten())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the daemon")?;
    let verified = (|| -> Outcome {
        let start = Instant::now();
        // Some are killed during the start, the others after the first reply.
        if round % 4 == 3 {
            thread::sleep(Duration::from_millis(round));
            return Ok(());
        }
        loop {
            if let Some(status) = daemon.try_wait()? {
                anyhow::bail!("the daemon ended: {status}");
            }
            if let Ok(mut client) = Client::connect_to(runtime_dir.clone()) {
                return ensure_equal(&mut client).map(drop);
            }
            ensure!(start.elapsed() < Duration::from_secs(20), "the daemon does not answer");
            thread::sleep(Duration::from_millis(1));
        }
    })();
    daemon.kill()?;
    daemon.wait()?;
    verified.with_context(|| format!("round {round}"))
}
