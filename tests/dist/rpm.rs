//! The .rpm, as rpm reads it.

use std::process::Command;

use anyhow::ensure;
use libtest_mimic::Trial;

use super::made::{file, run};
use crate::support::{Outcome, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dist::the_rpm_says_what_it_is", says),
        trial("dist::the_rpm_is_installed_and_removed", installed),
    ]
}

fn says() -> Outcome {
    let package = file(".rpm")?;
    let said = run(Command::new("rpm").args(["-qip"]).arg(&package))?;
    ensure!(said.contains("Name        : cgtrace") && said.contains("MIT OR Apache-2.0"), "{said}");
    let listed = run(Command::new("rpm").args(["-qlp"]).arg(&package))?;
    for path in [
        "/usr/bin/cgtrace",
        "/usr/lib/systemd/system/cgtrace.service",
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

/// Into a root with nothing but a database: the files come, verify, and go.
fn installed() -> Outcome {
    let root = tempfile::tempdir()?;
    let rpm = || {
        let mut command = Command::new("rpm");
        command.arg("--root").arg(root.path());
        command
    };
    run(rpm().arg("--initdb"))?;
    // The scripts want a shell, which this root has not.
    run(rpm().args(["--install", "--nodeps", "--noscripts"]).arg(file(".rpm")?))?;
    let verified = run(rpm().args(["--verify", "--nodeps", "--noscripts", "cgtrace"]))?;
    ensure!(verified.trim().is_empty(), "{verified}");
    let version = run(Command::new("chroot").arg(root.path()).args(["/usr/bin/cgtrace", "--version"]))?;
    ensure!(version.starts_with("cgtrace "), "{version}");
    run(rpm().args(["--erase", "--noscripts", "cgtrace"]))?;
    ensure!(!root.path().join("usr/bin/cgtrace").exists(), "the program was left");
    Ok(())
}
