//! A root file system with systemd: `target/lab/bookworm`.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::folder;
use crate::command::{as_root, run, which};

/// Its packages: systemd as PID 1, a message bus for queries, and PAM for user managers.
const INCLUDE: &str = "systemd,systemd-sysv,dbus,libpam-systemd";

const ARGUMENTS: [&str; 6] = [
    "--quiet",
    "--variant=essential",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--include",
];

/// Builds it if it is missing or was built with other arguments: about half a minute and 135 MB.
pub fn build() -> Result<()> {
    let folder = folder()?;
    let (image, recipe) = (folder.join("bookworm"), folder.join("bookworm.recipe"));
    let wanted = format!("{} {INCLUDE}\n", ARGUMENTS.join(" "));
    if image.is_dir() && fs::read_to_string(&recipe).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let mmdebstrap = which("mmdebstrap").context("mmdebstrap is not installed")?;
    // Renamed when complete, so that an interrupted build is not used.
    let new = folder.join("bookworm.new");
    for old in [&image, &new] {
        remove(old)?;
    }
    run(as_root(&mmdebstrap)?
        .args(ARGUMENTS)
        .arg(INCLUDE)
        .arg("bookworm")
        .arg(&new)
        // The image does not have the host's locale.
        .env("LC_ALL", "C")
        .stdout(std::io::stderr()))?;
    run(as_root(Path::new("/bin/mv"))?.arg(&new).arg(&image))?;
    fs::write(&recipe, wanted).with_context(|| format!("failed to write {}", recipe.display()))
}

fn remove(tree: &Path) -> Result<()> {
    if tree.exists() {
        run(as_root(Path::new("/bin/rm"))?.args(["-rf", "--one-file-system"]).arg(tree))?;
    }
    Ok(())
}
