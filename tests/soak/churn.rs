//! Random changes of cgroups.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{
    stage::{Random, Stage},
    support::{
        cgroup::Cgroup,
        named::Named,
        process::{Sleeper, put},
    },
};

/// The most cgroups of one thread at a time.
const LIVE_MAX: usize = 30;

/// The deepest level below the scope.
const DEPTH_MAX: usize = 2;

/// Names per directory: few enough that every path soon has the maximum of retained previous instances. After
/// that the daemon's memory must not grow.
pub const NAMES: u64 = 6;

/// Creates, removes, renames (on v1) and moves below the scope until the end.
pub fn churn(stage: &Stage, scope: &Cgroup, v1: bool, seed: u64) -> Result<()> {
    let mut random = Random(seed);
    let mut live: Vec<PathBuf> = Vec::new();
    let sleeper = Sleeper::start()?;
    while !stage.ends() {
        match random.below(100) {
            0..45 if live.len() < LIVE_MAX => make(stage, scope, &mut live, &mut random)?,
            0..85 => remove(stage, &mut live, &mut random)?,
            85..92 if v1 => rename(stage, &mut live, &mut random)?,
            92..97 => {
                let to = random.of(&live).map_or(scope.path(), PathBuf::as_path);
                if put(to, "cgroup.procs", sleeper.pid()).is_ok() {
                    stage.counts.moves.add(1);
                }
            }
            97 => storm(stage, scope)?,
            _ => {}
        }
        thread::sleep(Duration::from_micros(random.below(2_000)));
    }
    // It must not block the removal.
    put(scope.path(), "cgroup.procs", sleeper.pid())
}

fn make(stage: &Stage, scope: &Cgroup, live: &mut Vec<PathBuf>, random: &mut Random) -> Result<()> {
    let parent = random.of(live).map_or(scope.path(), PathBuf::as_path);
    let deep = parent.strip_prefix(scope.path()).is_ok_and(|below| below.components().count() >= DEPTH_MAX);
    let parent = if deep || random.below(3) == 0 { scope.path() } else { parent };
    let path = parent.join(format!("n{}", random.below(NAMES)));
    match fs::create_dir(&path) {
        Ok(()) => {
            stage.counts.changes.add(1);
            live.push(path);
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn remove(stage: &Stage, live: &mut Vec<PathBuf>, random: &mut Random) -> Result<()> {
    let Some(path) = random.of(live).cloned() else { return Ok(()) };
    match fs::remove_dir(&path) {
        Ok(()) => {
            stage.counts.changes.add(1);
            live.retain(|other| *other != path);
        }
        // It has children or a process.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn rename(stage: &Stage, live: &mut [PathBuf], random: &mut Random) -> Result<()> {
    let Some(path) = random.of(live).cloned() else { return Ok(()) };
    let to = path.with_file_name(format!("n{}", random.below(NAMES)));
    if live.contains(&to) {
        return Ok(());
    }
    fs::rename(&path, &to)?;
    stage.counts.changes.add(1);
    // With all descendants.
    for other in live {
        if let Ok(below) = other.strip_prefix(&path) {
            *other = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
        }
    }
    Ok(())
}

/// As fast as the kernel can.
fn storm(stage: &Stage, scope: &Cgroup) -> Result<()> {
    const PAIRS: u64 = 200;
    let path = scope.join("storm");
    for _ in 0..PAIRS {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    stage.counts.changes.add(2 * PAIRS);
    Ok(())
}

/// Mounts and unmounts named v1 hierarchies, with cgroups in them, until the end.
pub fn mount(stage: &Stage, seed: u64) -> Result<()> {
    let mut random = Random(seed);
    while !stage.ends() {
        let named = Named::mount()?;
        play(&named.path(), &mut random)?;
        drop(named);
        stage.counts.mounts.add(1);
        thread::sleep(Duration::from_millis(200 + random.below(2_000)));
    }
    Ok(())
}

fn play(hierarchy: &Path, random: &mut Random) -> io::Result<()> {
    for leaf in ["a", "a/b", "c"] {
        fs::create_dir(hierarchy.join(leaf))?;
    }
    thread::sleep(Duration::from_millis(random.below(500)));
    fs::rename(hierarchy.join("c"), hierarchy.join("d"))
}
