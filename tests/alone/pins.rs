//! Pins that are taken over, refused and removed.

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
        trial("pins::those_that_do_not_fit_are_refused", unfit),
        trial("pins::a_folder_that_others_can_change_is_refused", untrusted),
        trial("pins::objects_that_were_exchanged_are_refused", exchanged),
        trial("pins::unpinning_leaves_nothing", unpinned),
    ]
}

/// Starts a daemon that is to be refused, and says what it said.
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
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(3), "{:?}: {said}", output.status);
    Ok(said)
}

fn unfit() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let pins = bpffs.pins();
    let elsewhere = tempfile::tempdir()?;
    let said = refused(&elsewhere.path().join("pins"), &[])?;
    ensure!(said.contains("not in a BPF file system") && said.contains("mount -t bpf"), "{said}");
    let daemon = start(&pins)?;
    let said = refused(&pins, &[])?;
    ensure!(said.contains("in use by another daemon"), "{said}");
    drop(daemon);
    for (arguments, words) in [
        (&["--lifecycle-ring", "2"][..], ["LIFECYCLE_RING", "2097152"]),
        (&["--activity-ring", "2"][..], ["ACTIVITY_RING", "2097152"]),
        (&["--track-exec", "kubelet"][..], ["containerd", "this daemon tracks kubelet"]),
    ] {
        let said = refused(&pins, arguments)?;
        for word in words.into_iter().chain(["cgtrace unpin"]) {
            ensure!(said.contains(word), "{word} is not in {said}");
        }
    }
    // Records of another version.
    let mut persisted: Array<_, u64> =
        Map::from_map_data(MapData::from_pin(pins.join("PERSISTED"))?)?.try_into()?;
    let layout = persisted.get(&(Persisted::Layout as u32), 0)?;
    for (word, says) in [(layout + 1, "version"), (7 << 32, "cgtrace's magic number")] {
        persisted.set(Persisted::Layout as u32, word, 0)?;
        let said = refused(&pins, &[])?;
        ensure!(said.contains(says) && said.contains("cgtrace unpin"), "{said}");
    }
    persisted.set(Persisted::Layout as u32, layout, 0)?;
    start(&pins)?.verify()?;
    // Another map under the name of one.
    fs::remove_file(pins.join("WAKE"))?;
    MapData::from_pin(pins.join("LOST"))?.pin(pins.join("WAKE"))?;
    let said = refused(&pins, &[])?;
    ensure!(said.contains("`WAKE` is not the map"), "{said}");
    // A beginning that was cut short is cleared, but not what somebody else put there.
    fs::remove_file(pins.join("PERSISTED"))?;
    fs::DirBuilder::new().mode(0o700).create(pins.join("other"))?;
    let said = refused(&pins, &[])?;
    ensure!(said.contains("`other`, which is not cgtrace's"), "{said}");
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
    let (code, said) = unpin()?;
    ensure!(code == Some(3) && said.contains("in use"), "{code:?}: {said}");
    drop(daemon);
    ensure!(fs::read_dir(&pins)?.count() > 20, "too little is pinned");
    let (code, said) = unpin()?;
    ensure!(code == Some(0) && said.contains("removed") && !pins.exists(), "{code:?}: {said}");
    let (code, said) = unpin()?;
    ensure!(code == Some(0) && said.contains("nothing is pinned"), "{code:?}: {said}");
    // And a new beginning.
    start(&pins)?.verify()
}

/// What another user planted, or could have exchanged.
fn untrusted() -> Outcome {
    let bpffs = Bpffs::mount()?;
    let pins = bpffs.pins();
    drop(start(&pins)?);
    chown(&pins, Some(confined::UID), Some(confined::UID))?;
    let said = refused(&pins, &[])?;
    ensure!(said.contains("belongs to uid 65534") && said.contains("cgtrace unpin"), "{said}");
    chown(&pins, Some(0), Some(0))?;
    for mode in [0o720, 0o702, 0o1777] {
        fs::set_permissions(&pins, Permissions::from_mode(mode))?;
        let said = refused(&pins, &[])?;
        ensure!(said.contains(&format!("can be written by others (mode {mode:04o})")), "{said}");
    }
    fs::set_permissions(&pins, Permissions::from_mode(0o700))?;
    let link = bpffs.path().join("link");
    symlink(&pins, &link)?;
    let said = refused(&link, &[])?;
    ensure!(said.contains("failed to open the pin directory"), "{said}");
    start(&pins)?.verify()
}

/// The folder is trusted, but one thing in it is not what was pinned.
fn exchanged() -> Outcome {
    let (bpffs, other) = (Bpffs::mount()?, Bpffs::mount()?);
    let (pins, others) = (bpffs.pins(), other.pins());
    drop(start(&pins)?);
    drop(start(&others)?);
    let is_refused = |what: &str| -> Outcome {
        let said = refused(&pins, &[])?;
        ensure!(said.contains(what) && said.contains("cgtrace unpin"), "{said}");
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
    // A link that is not there, one of another hook, and one of another daemon's program.
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
    // Another daemon's program, with its link: the same instructions, but other maps.
    let place = pins.join("program_cgroup_release");
    let mut ours = RawTracePoint::from_pin(&place)?;
    fs::remove_file(&place)?;
    RawTracePoint::from_pin(others.join("program_cgroup_release"))?.pin(&place)?;
    is_refused("not those that were pinned")?;
    fs::remove_file(&place)?;
    // Neither program nor link, as of a hook that this kernel has not.
    drop(foreign.unpin()?);
    is_refused("not those that were pinned")?;
    // All as it was.
    ours.pin(&place)?;
    drop((release.pin(link(&pins, "cgroup_release"))?, rmdir));
    start(&pins)?.verify()
}
