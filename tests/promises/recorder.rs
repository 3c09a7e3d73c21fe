//! Faults around the stored history: each becomes a recorded gap, and answers about the present stay exact.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::wire::{self, HistoryStatus, LogItem};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("recorder::a_full_disk", full_disk),
        trial("recorder::a_read_only_file_system", read_only),
        trial("recorder::a_device_with_errors", device_errors),
        trial("recorder::two_daemons_on_one_folder", two_daemons),
        trial("recorder::a_damaged_segment", damaged),
        trial("recorder::a_segment_of_another_boot_with_equal_ids", other_boot),
    ]
}

/// How long a state of the history may take to come about.
const PATIENCE: Duration = Duration::from_mins(1);

/// A mounted file system, unmounted when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let output = Command::new("mount").args(arguments).arg(folder.path()).output();
        let output = output.map_err(|error| skip(format!("no mount program: {error}")))?;
        if !output.status.success() {
            return Err(skip(format!("cannot mount: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        Ok(Self(folder))
    }

    fn tmpfs(size: &str) -> Result<Self> {
        Self::new(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn remount(&self, options: &str) -> Outcome {
        let status =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.path()).status()?;
        ensure!(status.success(), "remount,{options}: {status}");
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A daemon with its history in a folder, and cgroups that it records.
struct Scene {
    daemon: Daemon,
    cgroup: Cgroup,
    /// Each is a mkdir and an rmdir.
    pairs: u64,
}

impl Scene {
    fn start(folder: &Path) -> Result<Self> {
        let folder = folder.join("history");
        let daemon = Daemon::start_with(&["--history", &folder.to_string_lossy()])?;
        Ok(Self { daemon, cgroup: Cgroup::new(any(), "recorder")?, pairs: 0 })
    }

    fn pair(&mut self) -> Outcome {
        let path = self.cgroup.join(self.pairs.to_string());
        self.pairs += 1;
        fs::create_dir(&path)?;
        Ok(fs::remove_dir(&path)?)
    }

    fn history(&self) -> Result<HistoryStatus> {
        Ok(self.daemon.client()?.status()?.history)
    }

    /// Creates and removes cgroups until the history is in a state.
    fn until(&mut self, what: &str, is_so: impl Fn(&HistoryStatus) -> bool) -> Result<HistoryStatus> {
        let start = Instant::now();
        loop {
            let history = self.history()?;
            if is_so(&history) {
                return Ok(history);
            }
            ensure!(start.elapsed() < PATIENCE, "not {what}: {history:?}");
            self.pair()?;
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// A cgroup exists exactly while it does.
    fn the_present_is_exact(&self) -> Outcome {
        let path = self.cgroup.join("present");
        let name = self.cgroup.name_of(&path);
        for _ in 0..20 {
            fs::create_dir(&path)?;
            ensure!(self.daemon.client()?.exists(&name)?, "a wrong absence");
            fs::remove_dir(&path)?;
            ensure!(!self.daemon.client()?.exists(&name)?, "a wrong presence");
        }
        Ok(())
    }

    /// Every event of this scene is stored or in a gap, and an absence is claimed from the last gap on only.
    fn everything_is_accounted_for(&self, reason: &str) -> Outcome {
        let (mut stored, mut missing, mut reasons) = (0, 0, Vec::new());
        let log = wire::Log {
            patterns: Some(vec![format!("{}/*", self.cgroup.name())]),
            kinds: Some(vec!["mkdir".into(), "rmdir".into()]),
            ..wire::Log::default()
        };
        let mut last: Option<wire::Gap> = None;
        for item in self.daemon.client()?.log(&log)? {
            match item? {
                LogItem { event: Some(_), .. } => stored += 1,
                LogItem { gap: Some(gap), .. } => {
                    missing += gap.lost.unwrap_or_default();
                    reasons.push(gap.reason.clone());
                    if gap.reason == reason {
                        last = Some(gap);
                    }
                }
                LogItem { .. } => bail!("neither an event nor a gap"),
            }
        }
        let gap = last.with_context(|| format!("no gap `{reason}`, but {reasons:?}"))?;
        // Gaps count the events of other tests' cgroups, too.
        ensure!(
            stored + missing >= 2 * self.pairs,
            "{stored} stored, {missing} missing of {}",
            2 * self.pairs
        );
        let row = self.daemon.row(&format!("{}/never", self.cgroup.name()), any())?;
        ensure!(row.horizon().boot_ns >= gap.until.boot_ns, "{row:?} claims more than {gap:?} allows");
        ensure!(row.gap.is_some(), "{row:?}");
        Ok(())
    }
}

fn missing(history: &HistoryStatus, reason: &str) -> u64 {
    history.missing.iter().filter(|missing| missing.reason == reason).map(|missing| missing.events).sum()
}

fn full_disk() -> Outcome {
    let disk = Mounted::tmpfs("4m")?;
    let mut scene = Scene::start(disk.path())?;
    scene.until("stored", |history| history.stored > 10)?;
    let filler = disk.path().join("filler");
    let mut file = fs::File::create(&filler)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    let full = scene.until("failing", |history| history.failure.is_some() && missing(history, "disk") > 0)?;
    let remedy = "full; make room on the file system of the history, or lower `history-size`";
    ensure!(full.failure.as_deref().is_some_and(|failure| failure.contains(remedy)), "{full:?}");
    scene.the_present_is_exact()?;
    scene.pairs += 20;
    drop(file);
    fs::remove_file(&filler)?;
    scene.until("stored again", |history| history.failure.is_none())?;
    scene.everything_is_accounted_for("disk")?;
    scene.the_present_is_exact()
}

fn read_only() -> Outcome {
    let disk = Mounted::tmpfs("32m")?;
    disk.remount("ro")?;
    let mut scene = Scene::start(disk.path())?;
    let failing = scene.until("failing", |history| missing(history, "disk") > 10)?;
    let failure = failing.failure.unwrap_or_default();
    ensure!(failure.contains("Read-only") && failure.contains("ReadWritePaths= of the unit"), "{failure}");
    scene.the_present_is_exact()?;
    scene.pairs += 20;
    disk.remount("rw")?;
    scene.until("stored", |history| history.failure.is_none())?;
    scene.everything_is_accounted_for("disk")
}

/// A file system in a file whose own disk is full: its device reports errors.
fn device_errors() -> Outcome {
    let backing = Mounted::tmpfs("6m")?;
    let image = backing.path().join("image");
    fs::File::create(&image)?.set_len(64 << 20)?;
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-O", "^has_journal", "-E", "lazy_itable_init=1"])
        .arg(&image)
        .output();
    let made = made.map_err(|error| skip(format!("no mkfs.ext4: {error}")))?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let disk = Mounted::new(&["-o", "loop,errors=continue", &image.to_string_lossy()])?;
    let mut scene = Scene::start(disk.path())?;
    scene.until("stored", |history| history.stored > 10)?;
    let filler = backing.path().join("filler");
    let mut file = fs::File::create(&filler)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    // Events until the log is copied into the file, which waits for the device.
    let start = Instant::now();
    while scene.history()?.failure.is_none() {
        ensure!(start.elapsed() < PATIENCE, "the device's errors are not noticed: {:?}", scene.history()?);
        for _ in 0..500 {
            scene.pair()?;
        }
    }
    scene.the_present_is_exact()?;
    scene.pairs += 20;
    drop(file);
    fs::remove_file(&filler)?;
    // The history itself takes more than was left.
    backing.remount("size=512m")?;
    scene.until("stored again", |history| history.failure.is_none())?;
    scene.the_present_is_exact()?;
    scene.pairs += 20;
    let status = scene.daemon.client()?.status()?;
    let gaps = missing(&status.history, "disk") + missing(&status.history, "broken");
    ensure!(gaps > 0, "{status:?}");
    let row = scene.daemon.row(&format!("{}/never", scene.cgroup.name()), any())?;
    // While the thread waits for the device, the queue may overflow.
    let reasons = ["disk", "broken", "queue"];
    ensure!(row.gap.as_ref().is_some_and(|gap| reasons.contains(&gap.reason.as_str())), "{row:?}");
    Ok(())
}

fn two_daemons() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut first = Scene::start(folder.path())?;
    first.until("stored", |history| history.stored > 2)?;
    let mut second = Scene::start(folder.path())?;
    let status = second.history()?;
    ensure!(
        status.failure.as_deref().is_some_and(|failure| failure.contains("another daemon")),
        "{status:?}"
    );
    second.pair()?;
    second.the_present_is_exact()?;
    second.pairs += 20;
    first.the_present_is_exact()?;
    ensure!(first.history()?.failure.is_none(), "{:?}", first.history()?);
    drop(first.daemon);
    second.until("taken over", |history| history.failure.is_none())?;
    second.everything_is_accounted_for("disk")
}

fn segment(folder: &Path) -> PathBuf {
    folder.join("history/segment-000001.db")
}

/// Stops the daemon, changes its segment, and starts another.
fn changed(folder: &Path, mut scene: Scene, change: impl FnOnce(&Path) -> Outcome) -> Result<Scene> {
    scene.daemon.signal(rustix::process::Signal::TERM)?;
    scene.daemon.wait_exit()?;
    change(&segment(folder))?;
    let again = folder.join("history");
    let daemon = Daemon::start_with(&["--history", &again.to_string_lossy()])?;
    Ok(Scene { daemon, cgroup: scene.cgroup, pairs: scene.pairs })
}

fn damaged() -> Outcome {
    let truncate = |path: &Path| -> Outcome {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        Ok(file.set_len(file.metadata()?.len() / 2)?)
    };
    let overwrite = |path: &Path| -> Outcome {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        for page in 1..file.metadata()?.len() / 4096 {
            file.write_all_at(&[0x5a; 2048], page * 4096)?;
        }
        Ok(())
    };
    let changes: [&dyn Fn(&Path) -> Outcome; 2] = [&truncate, &overwrite];
    for change in changes {
        let folder = tempfile::tempdir()?;
        let mut scene = Scene::start(folder.path())?;
        scene.until("stored", |history| history.stored > 100)?;
        let mut scene = changed(folder.path(), scene, change)?;
        scene.the_present_is_exact()?;
        let row = scene.daemon.row(&format!("{}/0", scene.cgroup.name()), any())?;
        ensure!(!row.present, "{row:?}");
        scene.until("broken", |history| missing(history, "broken") > 0)?;
        scene.until("stored again", |history| history.stored > 0 && history.failure.is_none())?;
        let row = scene.daemon.row(&format!("{}/0", scene.cgroup.name()), any())?;
        // It was removed, and that is no longer stored: nothing may be claimed about that time.
        ensure!(row.previous.is_empty() && row.gap.is_some(), "{row:?}");
        ensure!(folder.path().join("history/broken").exists(), "the damaged file is gone");
        scene.the_present_is_exact()?;
    }
    Ok(())
}

fn other_boot() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut scene = Scene::start(folder.path())?;
    let path = scene.cgroup.join("of-both");
    fs::create_dir(&path)?;
    let id = crate::support::cgroup::id(&path)?;
    let name = scene.cgroup.name_of(&path);
    scene.until("stored", |history| history.stored > 10)?;
    // The machine was booted since, and gave a cgroup the same id under another path.
    let scene = changed(folder.path(), scene, |segment| {
        let connection = rusqlite::Connection::open(segment)?;
        connection.execute("update boot set id = '00000000-0000-4000-8000-000000000000'", [])?;
        connection.execute("update cgroup set leaf = 'earlier' where leaf = 'of-both'", [])?;
        Ok(())
    })?;
    let now = scene.daemon.row(&name, any())?;
    let current = now.current.as_ref().context("not present")?;
    ensure!(now.present && current.id == id && now.previous.is_empty(), "{now:?}");
    ensure!(current.existed_at.is_some(), "it was not created under observation: {now:?}");
    let earlier = format!("{}/earlier", scene.cgroup.name());
    let row = scene.daemon.row(&earlier, any())?;
    let [previous] = &row.previous[..] else { bail!("{row:?}") };
    ensure!(!row.present && previous.id == id && previous.created_at.is_some(), "{row:?}");
    let gap = previous.removed_during.as_ref().context("it ended at an unknown time")?;
    ensure!(gap.reason == "stopped", "{gap:?}");
    fs::remove_dir(&path)?;
    let row = scene.daemon.row(&name, any())?;
    ensure!(!row.present && row.previous.len() == 1 && row.previous[0].removed_by.is_some(), "{row:?}");
    scene.the_present_is_exact()
}
