//! The .rpm, read and installed by rpm.

use std::{fs, process::Command};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::packages::{file, rpm_of, run};
use crate::support::{Outcome, overlay::Overlay, skip, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dist::the_rpm_has_its_metadata", metadata),
        trial("dist::the_rpm_is_installed_and_removed", installed),
        trial("dist::the_rpm_s_scripts_run_at_install_upgrade_and_erase", scripts),
    ]
}

fn metadata() -> Outcome {
    let package = file(".rpm")?;
    let info = run(Command::new("rpm").args(["-qip"]).arg(&package))?;
    ensure!(info.contains("Name        : cgtrace") && info.contains("MIT OR Apache-2.0"), "{info}");
    let listed = run(Command::new("rpm").args(["-qlp"]).arg(&package))?;
    for path in [
        "/usr/bin/cgtrace",
        "/usr/lib/systemd/system/cgtrace.service",
        "/usr/lib/systemd/system/cgtrace-private.socket",
        "/usr/lib/systemd/system/cgtrace-public.socket",
        "/usr/lib/systemd/system/cgtrace-wait@.service",
        "/usr/share/man/man1/cgtrace-exists.1.gz",
        "/usr/share/zsh/site-functions/_cgtrace",
    ] {
        ensure!(listed.lines().any(|line| line == path), "{path}: {listed}");
    }
    let configuration = run(Command::new("rpm").args(["-qcp"]).arg(&package))?;
    ensure!(configuration.trim() == "/etc/cgtrace/cgtrace.toml", "{configuration}");
    let checked = run(Command::new("rpm").args(["--checksig", "--nosignature"]).arg(&package))?;
    ensure!(checked.contains("digests OK"), "{checked}");
    Ok(())
}

/// In a root that contains only a database: files are installed, verified and removed.
fn installed() -> Outcome {
    let root = tempfile::tempdir()?;
    let rpm = || {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(root.path());
        command
    };
    run(rpm().arg("--initdb"))?;
    // The scripts need a shell, which this root lacks.
    run(rpm().args(["--install", "--nodeps", "--noscripts"]).arg(file(".rpm")?))?;
    let verified = run(rpm().args(["--verify", "--nodeps", "--noscripts", "cgtrace"]))?;
    ensure!(verified.trim().is_empty(), "{verified}");
    let version = run(Command::new("chroot").arg(root.path()).args(["/usr/bin/cgtrace", "--version"]))?;
    ensure!(version.starts_with("cgtrace "), "{version}");
    run(rpm().args(["--erase", "--noscripts", "cgtrace"]))?;
    ensure!(!root.path().join("usr/bin/cgtrace").exists(), "the program was left");
    Ok(())
}

/// In an overlay over this machine's root, which has a shell and systemd's tools for the scripts.
fn scripts() -> Outcome {
    const LINK: &str = "/etc/systemd/system/sysinit.target.wants/cgtrace.service";
    const SOCKETS: [&str; 2] = [
        "/etc/systemd/system/sockets.target.wants/cgtrace-private.socket",
        "/etc/systemd/system/sockets.target.wants/cgtrace-public.socket",
    ];
    let root = Overlay::new()?;
    if !root.command("systemctl").arg("--version").output()?.status.success() {
        return Err(skip("there is no systemctl here"));
    }
    // Debian's rpm requires an option to confirm this.
    let help = run(root.command("rpm").arg("--help"))?;
    let rpm = |arguments: &[&str]| -> Result<String> {
        let debian = help.contains("--force-debian").then_some("--force-debian");
        run(root.command("rpm").args(debian).args(arguments))
    };
    let exists = |path: &str| -> Result<bool> {
        // A dangling link counts.
        Ok(root.command("sh").args(["-c", "[ -e \"$0\" ] || [ -L \"$0\" ]", path]).status()?.success())
    };
    run(root.command("rpm").arg("--initdb"))?;
    let package = root.bring(&file(".rpm")?)?;
    rpm(&["--install", "--nodeps", &package])?;
    // Created by systemd-sysusers.
    let user = run(root.command("getent").args(["passwd", "cgtrace"]))?;
    ensure!(user.contains("nologin"), "{user}");
    ensure!(
        run(root.command("/usr/bin/cgtrace").args(["exists", "/", "--hierarchy", "v2"]))?.contains("present")
    );
    // The distribution's presets decide whether it is enabled: enable it.
    run(root.command("systemctl").args(["--no-reload", "enable", "cgtrace.service"]))?;
    for link in [LINK, SOCKETS[0], SOCKETS[1]] {
        ensure!(exists(link)?, "{link}: not enabled");
    }

    let configuration = "/etc/cgtrace/cgtrace.toml";
    fs::write(root.written(configuration), "# mine\n")?;
    let folder = tempfile::tempdir()?;
    let package = root.bring(&rpm_of(folder.path(), "2")?)?;
    rpm(&["--upgrade", "--nodeps", &package])?;
    ensure!(rpm(&["-q", "cgtrace"])?.contains("-2."), "not upgraded");
    ensure!(exists(LINK)?, "an upgrade disabled it");
    ensure!(fs::read_to_string(root.written(configuration))? == "# mine\n");

    let history = "/var/lib/cgtrace/segment-000001.db";
    run(root.command("mkdir").args(["-p", "/var/lib/cgtrace"]))?;
    run(root.command("touch").arg(history))?;
    rpm(&["--erase", "cgtrace"])?;
    ensure!(exists(history)?, "the history was removed");
    for path in [
        LINK,
        SOCKETS[0],
        SOCKETS[1],
        "/usr/bin/cgtrace",
        "/usr/lib/systemd/system/cgtrace.service",
        configuration,
    ] {
        ensure!(!exists(path)?, "{path} was left");
    }
    ensure!(exists(&format!("{configuration}.rpmsave"))?, "the administrator's changes are lost");
    Ok(())
}
