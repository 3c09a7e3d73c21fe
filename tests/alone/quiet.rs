//! An idle daemon sleeps, and a busy one is not woken for every event.

use std::{fs, os::unix::net::UnixDatagram, thread, time::Duration};

use anyhow::ensure;
use cgtrace_client::StreamItem;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::{Daemon, open_folder, program},
    events::Follower,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("quiet::an_idle_daemon_makes_no_wakeups_in_10_s", idle),
        trial("quiet::t15_a_burst_does_not_cause_a_wakeup_per_event", storm),
    ]
}

fn idle() -> Outcome {
    let daemon = Daemon::start()?;
    // A service manager without a watchdog is notified once.
    let folder = open_folder()?;
    let manager = UnixDatagram::bind(folder.path().join("notify"))?;
    let mut command = program();
    command.env("NOTIFY_SOCKET", folder.path().join("notify"));
    command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
    let mut supervised = Daemon::spawn_by(&mut command, folder)?;
    supervised.wait_ready()?;
    let mut message = [0; 256];
    let len = manager.recv(&mut message)?;
    ensure!(message[..len].starts_with(b"READY=1\n"));
    // The allocator, the runtime's threads and the connection of the readiness check come to rest.
    thread::sleep(Duration::from_secs(12));
    let before = [daemon.switches()?, supervised.switches()?];
    thread::sleep(Duration::from_secs(10));
    let after = [daemon.switches()?, supervised.switches()?];
    ensure!(
        after == before,
        "context switches of the daemon and of a supervised one before and after 10 s without an \
                              event: {before:?}, {after:?}"
    );
    Ok(())
}

/// KERNEL T15: a wakeup per event costs a third of the rate; without wakeups, a sleeping reader loses
/// records.
fn storm() -> Outcome {
    const PAIRS: u64 = 20_000;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "storm")?;
    let path = cgroup.join("x");
    let wakeups = || -> anyhow::Result<u64> { Ok(daemon.client()?.status()?.wakeups) };
    let storm = || -> Outcome {
        for _ in 0..PAIRS {
            fs::create_dir(&path)?;
            fs::remove_dir(&path)?;
        }
        Ok(())
    };
    // No subscriber: the daemon is woken once for each eighth of a ring.
    let before = wakeups()?;
    storm()?;
    let quiet = wakeups()? - before;
    ensure!(quiet <= PAIRS / 1_000, "woken {quiet} times without a subscriber");
    // With a subscriber: a bounded number of wakeups per second, and every event is reported.
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["mkdir", "rmdir"])?;
    let before = wakeups()?;
    let reader = thread::spawn(move || -> anyhow::Result<u64> {
        let mut received = 0;
        while received < 2 * PAIRS {
            match follower.next_item()? {
                StreamItem::Event(_) => received += 1,
                // A reader slower than the kernel drops events, which is not measured here.
                StreamItem::Dropped(dropped) => received += dropped,
                StreamItem::Gap(gap) => anyhow::bail!("a gap: {gap}"),
                StreamItem::Started { .. } | StreamItem::Existing(_) => {}
            }
        }
        Ok(received)
    });
    storm()?;
    let received = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let woken = wakeups()? - before;
    ensure!(received == 2 * PAIRS && woken < received / 20, "woken {woken} times for {received} events");
    daemon.verify()
}
