//! The kernel's own top rate for a minute: every event is stored, or counted.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use serde_json::json;

use super::{Stored, at_most, bytes};
use crate::{load, report::Report, service::Daemon};

const TIME: Duration = Duration::from_mins(1);

/// One thread for each of the two CPUs that the daemon shares with them.
const THREADS: usize = 2;

pub fn measure(report: &mut Report, mount: &Path) -> Result<()> {
    let folder = tempfile::tempdir_in(".")?;
    let store = folder.path().join("history");
    let scope = load::Scope::new(mount, "rate")?;
    let daemon = Daemon::start_with(&["--history", &store.to_string_lossy(), "--history-size", "2048"])?;
    let stop = AtomicBool::new(false);
    let began = Instant::now();
    let pairs = thread::scope(|threads| -> Result<u64> {
        let churning: Vec<_> = (0..THREADS)
            .map(|number| {
                threads.spawn({
                    let stop = &stop;
                    let scope = scope.path();
                    move || churn(scope, number, stop)
                })
            })
            .collect();
        thread::sleep(TIME);
        stop.store(true, Ordering::Relaxed);
        let mut pairs = 0;
        for thread in churning {
            pairs += thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        Ok(pairs)
    })?;
    let took = began.elapsed();
    let status = daemon.connect()?.call("Status", &json!({}))?;
    let lost: u64 =
        status["rings"].as_array().into_iter().flatten().filter_map(|ring| ring["lost"].as_u64()).sum();
    daemon.stop()?;
    let below = format!("/{}/", scope.path().strip_prefix(mount)?.display());
    let stored = Stored::below(&store, below.as_bytes())?;
    let (made, found) = (2 * pairs, stored.events.len() as u64);
    ensure!(stored.unknown == 0, "{} gaps of unknown size", stored.unknown);
    // Gaps may also hold events of this machine's other cgroups.
    let counted = found + stored.in_gaps + lost;
    ensure!(
        counted >= made,
        "{made} events were made, {found} are stored, {} in gaps, {lost} lost",
        stored.in_gaps
    );
    report.figure(
        format!("history: events stored at the top rate, {THREADS} threads"),
        format!(
            "{:.2} % of {made} in {:.0} s ({:.0} events/s)",
            found as f64 / made as f64 * 100.0,
            took.as_secs_f64(),
            made as f64 / took.as_secs_f64()
        ),
        format!(
            "goal: 100 %, or exactly counted; in gaps {}, lost in the kernel {lost}: {}",
            stored.in_gaps,
            if found == made { "met" } else { "counted" }
        ),
    );
    let each = bytes(&store)? as f64 / found as f64;
    report.row(at_most(
        "history: bytes per event on disk",
        format!("{each:.1} bytes"),
        each,
        80.0,
        "of 80; mkdir and rmdir of different cgroups",
    ));
    Ok(())
}

/// Creates and removes cgroups with different names. Returns how many.
fn churn(scope: &Path, thread: usize, stop: &AtomicBool) -> Result<u64> {
    let folder = std::fs::File::open(scope)?;
    let mut pairs = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("pod-{thread}-{pairs}");
        rustix::fs::mkdirat(&folder, &name, rustix::fs::Mode::from_raw_mode(0o755))?;
        rustix::fs::unlinkat(&folder, &name, rustix::fs::AtFlags::REMOVEDIR)?;
        pairs += 1;
    }
    Ok(pairs)
}
