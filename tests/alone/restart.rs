//! A daemon that ends and comes back: with pins there is no hole between, without them knowledge begins anew.

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
        trial("restart::what_happened_while_no_daemon_ran_is_told_by_the_next", no_hole),
        trial("restart::more_than_the_rings_hold_is_counted_and_healed", overflow),
        trial("restart::a_loss_is_not_told_twice", loss_told_once),
        trial("restart::without_pins_knowledge_begins_anew", without_pins),
    ]
}

/// Ends at once, as a crash does.
fn kill(daemon: Daemon) -> Outcome {
    daemon.signal(Signal::KILL)?;
    drop(daemon);
    Ok(())
}

fn lifecycle_ring(daemon: &Daemon) -> Result<wire::RingStatus> {
    let rings = daemon.client()?.status()?.rings;
    rings.into_iter().find(|ring| ring.name == "lifecycle").context("no ring of the index")
}

/// The cgroups that were there before the daemon ended, and those in which things happen.
struct Scene {
    v2: Cgroup,
    v1: Cgroup,
}

type Told = (&'static str, Option<String>);

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

    /// Makes, removes and renames. Says what is to be told of it, in order.
    fn play(&self) -> Result<Vec<Told>> {
        let mut told = Vec::new();
        let mut step = |cgroup: &Cgroup, kind, leaf: &str| -> Outcome {
            let path = cgroup.join(leaf);
            if kind == "mkdir" { fs::create_dir(&path) } else { fs::remove_dir(&path) }?;
            told.push((kind, Some(cgroup.name_of(&path))));
            Ok(())
        };
        step(&self.v2, "mkdir", "a")?;
        step(&self.v2, "mkdir", "a/b")?;
        step(&self.v1, "mkdir", "x")?;
        for _ in 0..1_000 {
            step(&self.v2, "mkdir", "a/b/brief")?;
            step(&self.v2, "rmdir", "a/b/brief")?;
        }
        // What was there before the daemon ended, and the folder above it too.
        for leaf in ["old", "full/inner", "full"] {
            step(&self.v2, "rmdir", leaf)?;
        }
        fs::rename(self.v1.join("x"), self.v1.join("y"))?;
        told.push(("rename", Some(self.v1.name_of(&self.v1.join("y")))));
        Ok(told)
    }

    /// Makes all as it was.
    fn reset(&self) -> Outcome {
        for leaf in ["end", "a/b", "a"] {
            fs::remove_dir(self.v2.join(leaf))?;
        }
        fs::remove_dir(self.v1.join("y"))?;
        self.set()
    }

    /// What is told after that number, up to now.
    fn told(&self, daemon: &Daemon, seq: u64) -> Result<Vec<wire::Event>> {
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

fn no_hole() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let scene = Scene::new()?;
    let v2 = &scene.v2;
    let mut daemon = start(&bpffs.pins())?;
    // Again and again, by a crash and by an end in order.
    for round in 0..4 {
        let seq = daemon.client()?.status()?.seq;
        if round % 2 == 0 {
            kill(daemon)?;
        } else {
            drop(daemon);
        }
        let expected = scene.play()?;
        daemon = start(&bpffs.pins())?;
        let told = scene.told(&daemon, seq)?;
        let mut last = seq;
        for (number, event) in told.iter().enumerate() {
            ensure!(event.seq > last && !event.inferred, "round {round}: {event:?} after number {last}");
            last = event.seq;
            let by = event.by.as_ref().map(|by| by.pid);
            ensure!(by == Some(std::process::id()), "round {round}: {event:?} is by {by:?}");
            let found = (event.kind.as_str(), event.path.clone());
            let expected = expected.get(number);
            ensure!(expected == Some(&found), "round {round}, {number}: {found:?}, not {expected:?}");
        }
        ensure!(told.len() == expected.len(), "round {round}: {} of {}", told.len(), expected.len());
        // Exact in all that is asked, and known since before what happened in between.
        let row = daemon.row(&v2.name_of(&v2.join("a")), "v2")?;
        let created_at =
            row.current.as_ref().and_then(|instance| instance.created_at.as_ref()).context("no birth")?;
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
    let (gone, kept) = (v2.join("gone"), v2.join("kept"));
    fs::create_dir(&gone)?;
    // Nobody else makes cgroups there: what is counted of it can be held to the number.
    let own = Named::mount()?;
    let daemon = start_with(&bpffs.pins(), &["--lifecycle-ring", "1"])?;
    daemon.verify()?;
    kill(daemon)?;
    for path in [v2.join("x"), own.path().join("x")].iter().cycle().take(2 * PAIRS) {
        fs::create_dir(path)?;
        fs::remove_dir(path)?;
    }
    // The ring is full long since.
    fs::create_dir(&kept)?;
    fs::remove_dir(&gone)?;
    let daemon = start_with(&bpffs.pins(), &["--lifecycle-ring", "1"])?;
    let row = daemon.row(&v2.name_of(&kept), "v2")?;
    ensure!(row.present && row.gap.is_some(), "{row:?}");
    // That it was there before the loss is not said: nobody knows.
    let before =
        row.current.as_ref().and_then(|instance| instance.existed_at.as_ref()).context("no instance")?;
    ensure!(before.boot_ns >= row.observed_since.boot_ns, "{row:?}");
    ensure!(!daemon.row(&v2.name_of(&gone), "v2")?.present);
    daemon.verify()?;
    let ring = lifecycle_ring(&daemon)?;
    // Each is counted, and once.
    let status = daemon.client()?.status()?;
    let name = own.hierarchy();
    let of_own =
        status.hierarchies.iter().find(|state| state.hierarchy == name).context("not in the status")?;
    let counted = of_own.created + of_own.removed + of_own.lost;
    // Where the last making was read and its removal was lost, the healing adds that removal.
    let exact =
        counted == 2 * PAIRS as u64 || (counted == 2 * PAIRS as u64 + 1 && of_own.created == of_own.removed);
    ensure!(of_own.lost > 0 && of_own.created > 0 && exact, "{of_own:?} of {PAIRS} pairs");
    ensure!(ring.lost >= of_own.lost, "{ring:?} and {of_own:?}");
    ensure!(daemon.client()?.status()?.resyncs > 0);
    // Told in its place: what the ring still held, then the loss, then that it is resynced.
    // It keeps only so much of it.
    let since_seq = daemon.client()?.status()?.seq.checked_sub(4_000);
    let mut follower = Follower::start(&daemon, &wire::Watch { since_seq, ..wire::Watch::default() })?;
    let missed = loop {
        match follower.next_item()? {
            StreamItem::Event(event) if event.kind == "lost" => break event.lost,
            StreamItem::Event(event) => ensure!(event.kind != "resynced", "resynced before it was lost"),
            _ => {}
        }
    };
    ensure!(missed.is_some_and(|missed| missed >= ring.lost), "told of {missed:?}, lost {}", ring.lost);
    while follower.next()?.kind != "resynced" {}
    Ok(())
}

fn loss_told_once() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let v2 = Cgroup::new("v2", "told-once")?;
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
    // The next one has lost nothing.
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
    // What came and went between has no instance, and the answer says since when it would.
    let row = daemon.row(&v2.name_of(&brief), "v2")?;
    ensure!(
        !row.present && row.previous.is_empty() && row.observed_since.boot_ns > observed_since,
        "{row:?}"
    );
    Ok(())
}
