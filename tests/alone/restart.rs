//! A daemon that ends and restarts: with pins no event is missing, without them the index starts over.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{StreamItem, wire};
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    Outcome,
    bpffs::{Bpffs, start, start_with},
    cgroup::Cgroup,
    daemon::Daemon,
    events::Follower,
    named::Named,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("restart::events_between_two_daemons_are_reported_by_the_second", no_missing_events),
        trial("restart::a_ring_overflow_is_counted_and_resynced", overflow),
        trial("restart::a_loss_is_reported_once", loss_reported_once),
        trial("restart::without_pins_the_index_starts_over", without_pins),
    ]
}

/// Kills it, as a crash does.
fn kill(daemon: Daemon) -> Outcome {
    daemon.signal(Signal::KILL)?;
    drop(daemon);
    Ok(())
}

fn lifecycle_ring(daemon: &Daemon) -> Result<wire::RingStatus> {
    let rings = daemon.client()?.status()?.rings;
    rings.into_iter().find(|ring| ring.name == "lifecycle").context("no lifecycle ring")
}

/// Cgroups that exist before the daemon ends, and those that change meanwhile.
struct Scene {
    v2: Cgroup,
    v1: Cgroup,
}

type ExpectedEvent = (&'static str, Option<String>);

impl Scene {
    fn new() -> Result<Self> {
        let scene = Self { v2: Cgroup::new("v2", "restart")?, v1: Cgroup::new("pids", "restart")? };
        scene.set()?;
        Ok(scene)
    }

    fn set(&self) -> Outcome {
        for leaf in ["old", "full", "full/inner"] {
            fs::create_dir(self.v2.join(leaf))?;
        }
        Ok(())
    }

    /// Creates, removes and renames; returns the events to expect, in order.
    fn play(&self) -> Result<Vec<ExpectedEvent>> {
        let mut expected = Vec::new();
        let mut step = |cgroup: &Cgroup, kind, leaf: &str| -> Outcome {
            let path = cgroup.join(leaf);
            if kind == "mkdir" { fs::create_dir(&path) } else { fs::remove_dir(&path) }?;
            expected.push((kind, Some(cgroup.name_of(&path))));
            Ok(())
        };
        step(&self.v2, "mkdir", "a")?;
        step(&self.v2, "mkdir", "a/b")?;
        step(&self.v1, "mkdir", "x")?;
        for _ in 0..1_000 {
            step(&self.v2, "mkdir", "a/b/brief")?;
            step(&self.v2, "rmdir", "a/b/brief")?;
        }
        // Cgroups from before the daemon ended, and their parent too.
        for leaf in ["old", "full/inner", "full"] {
            step(&self.v2, "rmdir", leaf)?;
        }
        fs::rename(self.v1.join("x"), self.v1.join("y"))?;
        expected.push(("rename", Some(self.v1.name_of(&self.v1.join("y")))));
        Ok(expected)
    }

    /// Restores the cgroups.
    fn reset(&self) -> Outcome {
        for leaf in ["end", "a/b", "a"] {
            fs::remove_dir(self.v2.join(leaf))?;
        }
        fs::remove_dir(self.v1.join("y"))?;
        self.set()
    }

    /// The events after that number up to now.
    fn events(&self, daemon: &Daemon, seq: u64) -> Result<Vec<wire::Event>> {
        let watch = wire::Watch {
            patterns: Some(vec![self.v2.name(), self.v1.name()]),
            kinds: Some(["mkdir", "rmdir", "rename"].map(str::to_owned).into()),
            since_seq: Some(seq),
            ..wire::Watch::default()
        };
        let mut follower = Follower::start(daemon, &watch)?;
        let end = self.v2.join("end");
        fs::create_dir(&end)?;
        follower.until_made(&self.v2.name_of(&end))
    }
}

fn no_missing_events() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let scene = Scene::new()?;
    let v2 = &scene.v2;
    let mut daemon = start(&bpffs.pins())?;
    // Repeatedly, after a crash and after an orderly stop.
    for round in 0..4 {
        let seq = daemon.client()?.status()?.seq;
        if round % 2 == 0 {
            kill(daemon)?;
        } else {
            drop(daemon);
        }
        let expected = scene.play()?;
        daemon = start(&bpffs.pins())?;
        let events = scene.events(&daemon, seq)?;
        let mut last = seq;
        for (number, event) in events.iter().enumerate() {
            ensure!(event.seq > last && !event.inferred, "round {round}: {event:?} after number {last}");
            last = event.seq;
            let by = event.by.as_ref().map(|by| by.pid);
            ensure!(by == Some(std::process::id()), "round {round}: {event:?} was caused by {by:?}");
            let found = (event.kind.as_str(), event.path.clone());
            let expected = expected.get(number);
            ensure!(expected == Some(&found), "round {round}, {number}: {found:?}, not {expected:?}");
        }
        ensure!(events.len() == expected.len(), "round {round}: {} of {}", events.len(), expected.len());
        // Lookups are exact, and observed since before the changes.
        let row = daemon.row(&v2.name_of(&v2.join("a")), "v2")?;
        let created_at = row
            .current
            .as_ref()
            .and_then(|instance| instance.created_at.as_ref())
            .context("no creation time")?;
        ensure!(row.gap.is_none() && row.observed_since.boot_ns <= created_at.boot_ns, "{row:?}");
        let row = daemon.row(&v2.name_of(&v2.join("old")), "v2")?;
        let previous = row.previous.first().context("no previous instance")?;
        ensure!(
            previous.removed_by.is_some() && previous.existed_at.is_some() && !previous.inferred,
            "{row:?}"
        );
        daemon.verify()?;
        ensure!(lifecycle_ring(&daemon)?.lost == 0 && daemon.client()?.status()?.resyncs == 0);
        scene.reset()?;
        daemon.verify()?;
    }
    Ok(())
}

fn overflow() -> Outcome {
    const PAIRS: usize = 20_000;
    let bpffs = Bpffs::mount()?;
    let v2 = Cgroup::new("v2", "overflow")?;
    let (gone, remaining) = (v2.join("gone"), v2.join("remaining"));
    fs::create_dir(&gone)?;
    // No other test creates cgroups there, so that its counts can be compared with the number.
    let own = Named::mount()?;
    let daemon = start_with(&bpffs.pins(), &["--lifecycle-ring", "1"])?;
    daemon.verify()?;
    kill(daemon)?;
    for path in [v2.join("x"), own.path().join("x")].iter().cycle().take(2 * PAIRS) {
        fs::create_dir(path)?;
        fs::remove_dir(path)?;
    }
    // The ring has been full for a long time.
    fs::create_dir(&remaining)?;
    fs::remove_dir(&gone)?;
    let daemon = start_with(&bpffs.pins(), &["--lifecycle-ring", "1"])?;
    let row = daemon.row(&v2.name_of(&remaining), "v2")?;
    ensure!(row.present && row.gap.is_some(), "{row:?}");
    // Whether it existed before the loss is unknown, so nothing is claimed.
    let before =
        row.current.as_ref().and_then(|instance| instance.existed_at.as_ref()).context("no instance")?;
    ensure!(before.boot_ns >= row.observed_since.boot_ns, "{row:?}");
    ensure!(!daemon.row(&v2.name_of(&gone), "v2")?.present);
    daemon.verify()?;
    let ring = lifecycle_ring(&daemon)?;
    // Each loss is counted once.
    let status = daemon.client()?.status()?;
    let name = own.hierarchy();
    let of_own =
        status.hierarchies.iter().find(|state| state.hierarchy == name).context("not in the status")?;
    let counted = of_own.created + of_own.removed + of_own.lost;
    // If the last creation was read and its removal was lost, the resync adds that removal.
    let exact =
        counted == 2 * PAIRS as u64 || (counted == 2 * PAIRS as u64 + 1 && of_own.created == of_own.removed);
    ensure!(of_own.lost > 0 && of_own.created > 0 && exact, "{of_own:?} of {PAIRS} pairs");
    ensure!(ring.lost >= of_own.lost, "{ring:?} and {of_own:?}");
    ensure!(daemon.client()?.status()?.resyncs > 0);
    // The order of the events: the rest of the ring, the loss, and `resynced`. The history is limited.
    let since_seq = daemon.client()?.status()?.seq.checked_sub(4_000);
    let mut follower = Follower::start(&daemon, &wire::Watch { since_seq, ..wire::Watch::default() })?;
    let lost = loop {
        match follower.next_item()? {
            StreamItem::Event(event) if event.kind == "lost" => break event.lost,
            StreamItem::Event(event) => ensure!(event.kind != "resynced", "resynced before it was lost"),
            _ => {}
        }
    };
    ensure!(lost.is_some_and(|lost| lost >= ring.lost), "reported {lost:?} of {} lost", ring.lost);
    while follower.next()?.kind != "resynced" {}
    Ok(())
}

fn loss_reported_once() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let v2 = Cgroup::new("v2", "reported-once")?;
    let daemon = start_with(&bpffs.pins(), &["--lifecycle-ring", "1"])?;
    daemon.signal(Signal::STOP)?;
    let path = v2.join("x");
    for _ in 0..20_000 {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    daemon.signal(Signal::CONT)?;
    ensure!(lifecycle_ring(&daemon)?.lost > 0);
    daemon.verify()?;
    kill(daemon)?;
    // The next daemon has lost nothing.
    let daemon = start_with(&bpffs.pins(), &["--lifecycle-ring", "1"])?;
    ensure!(lifecycle_ring(&daemon)?.lost == 0 && daemon.client()?.status()?.resyncs == 0);
    ensure!(daemon.row(&v2.name(), "v2")?.gap.is_none());
    daemon.verify()
}

fn without_pins() -> Outcome {
    let v2 = Cgroup::new("v2", "anew")?;
    let daemon = Daemon::start()?;
    let observed_since = daemon.row(&v2.name(), "v2")?.observed_since.boot_ns;
    kill(daemon)?;
    let between = v2.join("between");
    fs::create_dir(&between)?;
    let brief = v2.join("brief");
    fs::create_dir(&brief)?;
    fs::remove_dir(&brief)?;
    let daemon = Daemon::start()?;
    let row = daemon.row(&v2.name_of(&between), "v2")?;
    ensure!(row.observed_since.boot_ns > observed_since, "{row:?}");
    let instance = row.current.as_ref().context("no instance")?;
    ensure!(
        instance.created_at.is_none() && instance.existed_at.is_some() && instance.created_by.is_none(),
        "{row:?}"
    );
    // A cgroup of the time between has no instance, and the reply shows since when it would.
    let row = daemon.row(&v2.name_of(&brief), "v2")?;
    ensure!(
        !row.present && row.previous.is_empty() && row.observed_since.boot_ns > observed_since,
        "{row:?}"
    );
    Ok(())
}
