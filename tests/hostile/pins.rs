//! The daemon refuses a pin folder that an attacker may have prepared.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::stage::{ATTACKER, DAEMON, Stage};
use crate::support::{Outcome, bpffs::Bpffs, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("pins::a_folder_of_another_user_is_refused", of_another),
        trial("pins::a_writable_folder_is_refused", writable),
        trial("pins::a_link_is_not_followed", link),
        trial("pins::its_own_folder_is_accepted", own),
    ]
}

/// Fails unless the daemon refuses to pin in a folder, and logs its path.
fn is_refused(folder: &Path) -> Outcome {
    let mut stage = Stage::spawn(&["--pin", &folder.display().to_string()], None)?;
    let error = stage.wait_ready().err().context("the daemon started")?;
    ensure!(stage.wait_exit()?.code() == Some(3), "{error:#}");
    ensure!(stage.log()?.contains(&folder.display().to_string()), "{error:#}");
    Ok(())
}

fn prepare(owner: u32, mode: u32) -> Result<(Bpffs, std::path::PathBuf)> {
    let bpffs = Bpffs::mount()?;
    fs::set_permissions(bpffs.path(), fs::Permissions::from_mode(0o755))?;
    let pins = bpffs.pins();
    fs::create_dir(&pins)?;
    fs::set_permissions(&pins, fs::Permissions::from_mode(mode))?;
    chown(&pins, Some(owner), Some(owner))?;
    Ok((bpffs, pins))
}

fn of_another() -> Outcome {
    let (_bpffs, pins) = prepare(ATTACKER, 0o755)?;
    is_refused(&pins)
}

fn writable() -> Outcome {
    let (_bpffs, pins) = prepare(DAEMON, 0o777)?;
    is_refused(&pins)
}

fn link() -> Outcome {
    let (bpffs, pins) = prepare(DAEMON, 0o700)?;
    let link = bpffs.path().join("link");
    symlink(&pins, &link)?;
    is_refused(&link)
}

fn own() -> Outcome {
    let (_bpffs, pins) = prepare(DAEMON, 0o700)?;
    let stage = Stage::start_with(&["--pin", &pins.display().to_string()], None)?;
    ensure!(fs::read_dir(&pins)?.count() > 0, "nothing was pinned");
    stage.finish()
}
