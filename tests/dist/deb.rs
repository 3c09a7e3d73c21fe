//! The .deb, installed in an overlay.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::packages::{deb_of, file, run};
use crate::support::{Outcome, overlay::Overlay, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dist::the_deb_is_installed_used_upgraded_removed_and_purged", lifecycle),
        trial("dist::the_deb_has_its_metadata", metadata),
    ]
}

const UNITS: [&str; 6] = [
    "/usr/lib/systemd/system/cgtrace.service",
    "/usr/lib/systemd/system/cgtrace-private.socket",
    "/usr/lib/systemd/system/cgtrace-public.socket",
    "/usr/lib/systemd/system/cgtrace-wait@.service",
    "/usr/lib/sysusers.d/cgtrace.conf",
    "/usr/lib/tmpfiles.d/cgtrace.conf",
];

fn metadata() -> Outcome {
    let package = file(".deb")?;
    let fields = run(Command::new("dpkg-deb").arg("--field").arg(&package))?;
    for field in ["Package: cgtrace", "Version: ", "Architecture: ", "Installed-Size: "] {
        ensure!(fields.contains(field), "{fields}");
    }
    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(&package))?;
    for path in UNITS.into_iter().chain(["/usr/bin/cgtrace", "/usr/share/man/man1/cgtrace-wait.1.gz"]) {
        ensure!(
            listed.lines().any(|line| line.ends_with(&format!(" {}", path.trim_start_matches('/')))),
            "{path}: {listed}"
        );
    }
    ensure!(listed.lines().all(|line| line.contains(" 0/0 ")), "{listed}");
    Ok(())
}

fn lifecycle() -> Outcome {
    let root = Overlay::new()?;
    let status = |root: &Overlay| -> Result<String> {
        run(root.command("dpkg-query").args(["-W", "-f", "${Status} ${Version}", "cgtrace"]))
    };
    let package = root.bring(&file(".deb")?)?;
    run(root.command("dpkg").args(["--install", &package]))?;
    let first = status(&root)?;
    ensure!(first.starts_with("install ok installed ") && first.ends_with("-1"), "{first}");

    // Used: it traces this kernel.
    let shown = run(root.command("/usr/bin/cgtrace").args(["exists", "/", "--hierarchy", "v2"]))?;
    ensure!(shown.contains("present"), "{shown}");
    if root.command("systemd-sysusers").arg("--version").output()?.status.success() {
        let user = run(root.command("getent").args(["passwd", "cgtrace"]))?;
        ensure!(user.contains("nologin"), "{user}");
        // Enabled with the service, through its Also=.
        for socket in ["cgtrace-public.socket", "cgtrace-private.socket"] {
            let link = format!("/etc/systemd/system/sockets.target.wants/{socket}");
            ensure!(root.command("test").args(["-L", &link]).status()?.success(), "{socket} is not enabled");
        }
    }
    run(root.command("man").args(["--warnings", "-l", "/usr/share/man/man1/cgtrace.1.gz"]))?;

    // Upgraded: the administrator's changes are retained.
    let configuration = "/etc/cgtrace/cgtrace.toml";
    fs::write(root.written(configuration), "# mine\n")?;
    let folder = tempfile::tempdir()?;
    let package = root.bring(&deb_of(folder.path(), "2")?)?;
    run(root.command("dpkg").args(["--install", &package]))?;
    let second = status(&root)?;
    ensure!(second.starts_with("install ok installed ") && second.ends_with("-2"), "{second}");
    ensure!(fs::read_to_string(root.written(configuration))? == "# mine\n");
    ensure!(run(root.command("/usr/bin/cgtrace").arg("--version"))?.starts_with("cgtrace "));

    // Removed: only the configuration and the history are left. Purged: nothing is left.
    run(root.command("mkdir").args(["-p", "/var/lib/cgtrace/folder"]))?;
    run(root.command("touch").arg("/var/lib/cgtrace/segment-000001.db"))?;
    run(root.command("dpkg").args(["--remove", "cgtrace"]))?;
    for path in UNITS.into_iter().chain(["/usr/bin/cgtrace", "/usr/share/man/man1/cgtrace.1.gz"]) {
        ensure!(!root.command("test").args(["-e", path]).status()?.success(), "{path} was left");
    }
    ensure!(root.written(configuration).exists(), "the configuration was removed");
    ensure!(root.written("/var/lib/cgtrace/segment-000001.db").exists(), "the history was removed");
    run(root.command("dpkg").args(["--purge", "cgtrace"]))?;
    for folder in ["/etc/cgtrace", "/var/lib/cgtrace"] {
        ensure!(!root.command("test").args(["-e", folder]).status()?.success(), "{folder} was left");
    }
    let query = root.command("dpkg-query").args(["-W", "cgtrace"]).output()?;
    ensure!(!query.status.success(), "{query:?}");
    Ok(())
}
