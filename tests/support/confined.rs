//! A daemon run by an unprivileged user with only the given capabilities.

use std::{fs, path::Path, process::Command};

use anyhow::Result;
use cgtrace::daemon::service::NEEDS;
use rustix::{
    fs::chown,
    process::{Gid, Uid},
    thread::CapabilitySet,
};
use tempfile::TempDir;

use super::daemon::{Daemon, open_folder};

/// `nobody` on every distribution.
pub const UID: u32 = 65_534;

/// The capabilities that the daemon needs, minus some.
pub fn needed_without(without: CapabilitySet) -> CapabilitySet {
    NEEDS.iter().map(|need| need.capability).filter(|capability| !without.contains(*capability)).collect()
}

/// A directory owned by that user that contains a copy of the program: the build directory may be
/// inaccessible to it.
pub fn folder() -> Result<TempDir> {
    let folder = open_folder()?;
    chown(folder.path(), Some(Uid::from_raw(UID)), Some(Gid::from_raw(UID)))?;
    let built = Path::new(env!("CARGO_BIN_EXE_cgtrace"));
    let program = folder.path().join("cgtrace");
    fs::hard_link(built, &program)
        .map_err(anyhow::Error::from)
        .or_else(|_| super::process::copy_program(built, &program))?;
    Ok(folder)
}

/// A command line of the program in this folder, run as that user without any capability.
pub fn client(folder: &Path, within: &[&str]) -> Command {
    let mut words = within.iter().chain(&["setpriv"]);
    let mut command = Command::new(words.next().unwrap_or(&"setpriv"));
    command
        .args(words)
        .args(["--pdeathsig", "KILL", "--reuid", &UID.to_string(), "--regid", &UID.to_string()])
        .args(["--clear-groups", "--inh-caps", "-all", "--ambient-caps", "-all", "--bounding-set", "-all"])
        .arg(folder.join("cgtrace"))
        .env_remove("CGTRACE_SOCKET")
        .env_remove("CGTRACE_RUNTIME_DIR")
        .env("CGTRACE_LOG", "warn");
    command
}

/// The daemon's command line, run by `setpriv` as that user. `within` is a wrapper such as `unshare --mount`.
pub fn command(folder: &Path, capabilities: CapabilitySet, within: &[&str]) -> Command {
    let mut set = "-all".to_owned();
    for need in NEEDS.iter().filter(|need| capabilities.contains(need.capability)) {
        set.push_str(",+");
        set.push_str(&need.name.trim_start_matches("CAP_").to_lowercase());
    }
    let mut words = within.iter().chain(&["setpriv"]);
    let mut command = Command::new(words.next().unwrap_or(&"setpriv"));
    command
        .args(words)
        // If it is not the test's direct child, it must end with its parent.
        .args([
            "--pdeathsig",
            "KILL",
            "--reuid",
            &UID.to_string(),
            "--regid",
            &UID.to_string(),
            "--clear-groups",
        ])
        .args(["--inh-caps", &set, "--ambient-caps", &set, "--bounding-set", &set])
        .arg(folder.join("cgtrace"))
        .arg("--runtime-dir")
        .arg(folder)
        .arg("daemon")
        .env("CGTRACE_LOG", "warn");
    command
}

/// Starts such a daemon and waits until it answers.
pub fn start(capabilities: CapabilitySet, within: &[&str]) -> Result<Daemon> {
    let folder = folder()?;
    let mut command = command(folder.path(), capabilities, within);
    let mut daemon = Daemon::spawn_by(&mut command, folder)?;
    daemon.wait_ready()?;
    Ok(daemon)
}
