//! Takeover, refusal and removal of pins.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
};

use anyhow::{Result, ensure};
use aya::{
    maps::{Array, Map, MapData},
    programs::{RawTracePoint, links::PinnedLink},
};
use cgtrace_common::Persisted;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    bpffs::{Bpffs, start},
    confined,
    daemon::program,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("pins::incompatible_pins_are_refused", unfit),
        trial("pins::a_directory_writable_by_others_is_refused", untrusted),
        trial("pins::replaced_objects_are_refused", exchanged),
        trial("pins::unpin_removes_everything", unpinned),
    ]
}

/// Starts a daemon that must be refused, and returns its stderr.
fn refused(pins: &Path, arguments: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let output = program()
        .arg("--runtime-dir")
        .arg(folder.path())
        .arg("daemon")
        .arg("--pin")
        .arg(pins)
        .args(arguments)
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(3), "{:?}: {stderr}", output.status);
    Ok(stderr)
}

fn unfit() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let pins = bpffs.pins();
    let elsewhere = tempfile::tempdir()?;
    let stderr = refused(&elsewhere.path().join("pins"), &[])?;
    ensure!(stderr.contains("not in a BPF file system") && stderr.contains("mount -t bpf"), "{stderr}");
    let daemon = start(&pins)?;
    let stderr = refused(&pins, &[])?;
    ensure!(stderr.contains("in use by another daemon"), "{stderr}");
    drop(daemon);
    for (arguments, words) in [
        (&["--lifecycle-ring", "2"][..], ["LIFECYCLE_RING", "2097152"]),
        (&["--activity-ring", "2"][..], ["ACTIVITY_RING", "2097152"]),
        (&["--track-exec", "kubelet"][..], ["containerd", "this daemon tracks kubelet"]),
    ] {
        let stderr = refused(&pins, arguments)?;
        for word in words.into_iter().chain(["cgtrace unpin"]) {
            ensure!(stderr.contains(word), "{word} is not in {stderr}");
        }
    }
    // Records of another version.
    let mut persisted: Array<_, u64> =
        Map::from_map_data(MapData::from_pin(pins.join("PERSISTED"))?)?.try_into()?;
    let layout = persisted.get(&(Persisted::Layout as u32), 0)?;
    for (word, expected) in [(layout + 1, "version"), (7 << 32, "cgtrace's magic number")] {
        persisted.set(Persisted::Layout as u32, word, 0)?;
        let stderr = refused(&pins, &[])?;
        ensure!(stderr.contains(expected) && stderr.contains("cgtrace unpin"), "{stderr}");
    }
    persisted.set(Persisted::Layout as u32, layout, 0)?;
    start(&pins)?.verify()?;
    // Another map under the name of an expected one.
    fs::remove_file(pins.join("WAKE"))?;
    MapData::from_pin(pins.join("LOST"))?.pin(pins.join("WAKE"))?;
    let stderr = refused(&pins, &[])?;
    ensure!(stderr.contains("`WAKE` is not the map"), "{stderr}");
    // An incomplete set of pins is removed, but not the files of others.
    fs::remove_file(pins.join("PERSISTED"))?;
    fs::DirBuilder::new().mode(0o700).create(pins.join("other"))?;
    let stderr = refused(&pins, &[])?;
    ensure!(stderr.contains("`other`, which is not cgtrace's"), "{stderr}");
    fs::remove_dir(pins.join("other"))?;
    start(&pins)?.verify()
}

fn unpinned() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let pins = bpffs.pins();
    let unpin = || -> Result<(Option<i32>, String)> {
        let output = program().arg("unpin").arg(&pins).output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let daemon = start(&pins)?;
    let (code, stderr) = unpin()?;
    ensure!(code == Some(3) && stderr.contains("in use"), "{code:?}: {stderr}");
    drop(daemon);
    ensure!(fs::read_dir(&pins)?.count() > 20, "too little is pinned");
    let (code, stderr) = unpin()?;
    ensure!(code == Some(0) && stderr.contains("removed") && !pins.exists(), "{code:?}: {stderr}");
    let (code, stderr) = unpin()?;
    ensure!(code == Some(0) && stderr.contains("nothing is pinned"), "{code:?}: {stderr}");
    start(&pins)?.verify()
}

/// Pins that another user created or could have replaced.
fn untrusted() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let pins = bpffs.pins();
    drop(start(&pins)?);
    chown(&pins, Some(confined::UID), Some(confined::UID))?;
    let stderr = refused(&pins, &[])?;
    ensure!(stderr.contains("belongs to uid 65534") && stderr.contains("cgtrace unpin"), "{stderr}");
    chown(&pins, Some(0), Some(0))?;
    for mode in [0o720, 0o702, 0o1777] {
        fs::set_permissions(&pins, Permissions::from_mode(mode))?;
        let stderr = refused(&pins, &[])?;
        ensure!(stderr.contains(&format!("can be written by others (mode {mode:04o})")), "{stderr}");
    }
    fs::set_permissions(&pins, Permissions::from_mode(0o700))?;
    let link = bpffs.path().join("link");
    symlink(&pins, &link)?;
    let stderr = refused(&link, &[])?;
    ensure!(stderr.contains("failed to open the pin directory"), "{stderr}");
    start(&pins)?.verify()
}

/// The directory is trusted, but one object in it is not the pinned one.
fn exchanged() -> Outcome {
    let (bpffs, other) = (Bpffs::mount()?, Bpffs::mount()?);
    let (pins, others) = (bpffs.pins(), other.pins());
    drop(start(&pins)?);
    drop(start(&others)?);
    let is_refused = |what: &str| -> Outcome {
        let stderr = refused(&pins, &[])?;
        ensure!(stderr.contains(what) && stderr.contains("cgtrace unpin"), "{stderr}");
        Ok(())
    };
    let link = |pins: &Path, hook: &str| pins.join(format!("link_{hook}"));
    // A map of the same name and shape that the pinned programs do not use.
    for name in ["LIFECYCLE_RING", "ACTIVITY_RING", "WAKE", "TRACKED_COMMS"] {
        let (ours, theirs) = (MapData::from_pin(pins.join(name))?, MapData::from_pin(others.join(name))?);
        fs::remove_file(pins.join(name))?;
        theirs.pin(pins.join(name))?;
        is_refused(&format!("`{name}` is not the map"))?;
        fs::remove_file(pins.join(name))?;
        ours.pin(pins.join(name))?;
    }
    // A missing link, a link of another hook, and a link of another daemon's program.
    let rmdir = PinnedLink::from_pin(link(&pins, "cgroup_rmdir"))?.unpin()?;
    is_refused("`cgroup_rmdir` is missing")?;
    let release = PinnedLink::from_pin(link(&pins, "cgroup_release"))?.unpin()?;
    is_refused("`cgroup_rmdir` is missing")?;
    let release = release.pin(link(&pins, "cgroup_rmdir"))?;
    is_refused("`cgroup_rmdir` cannot be taken over: its link holds program")?;
    let release = release.unpin()?;
    let rmdir = rmdir.pin(link(&pins, "cgroup_rmdir"))?;
    is_refused("`cgroup_release` is missing")?;
    let foreign = PinnedLink::from_pin(link(&others, "cgroup_release"))?.unpin()?;
    let foreign = foreign.pin(link(&pins, "cgroup_release"))?;
    is_refused("`cgroup_release` cannot be taken over: its link holds program")?;
    // Another daemon's program with its link: the same instructions, but other maps.
    let place = pins.join("program_cgroup_release");
    let mut ours = RawTracePoint::from_pin(&place)?;
    fs::remove_file(&place)?;
    RawTracePoint::from_pin(others.join("program_cgroup_release"))?.pin(&place)?;
    is_refused("not those that were pinned")?;
    fs::remove_file(&place)?;
    // Neither program nor link, as for a hook that this kernel lacks.
    drop(foreign.unpin()?);
    is_refused("not those that were pinned")?;
    // Everything is restored.
    ours.pin(&place)?;
    drop((release.pin(link(&pins, "cgroup_release"))?, rmdir));
    start(&pins)?.verify()
}
