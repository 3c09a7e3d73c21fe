//! Packages of the distribution that tests need.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::command::{as_root, run, which};

/// A Debian package.
struct Package {
    name: &'static str,
    /// A program on PATH, or a file, that shows that the package is installed.
    provides: &'static str,
    /// Its purpose.
    purpose: &'static str,
}

const PACKAGES: &[Package] = &[
    Package {
        name: "mmdebstrap",
        provides: "mmdebstrap",
        purpose: "builds the root file systems of the lab",
    },
    Package {
        name: "systemd-container",
        provides: "systemd-nspawn",
        purpose: "boots a real systemd in a container: tests/lab",
    },
    Package { name: "strace", provides: "strace", purpose: "records what the daemon opens: tests/hostile" },
    Package { name: "golang-go", provides: "go", purpose: "builds the Go example: tests/clients" },
    Package { name: "rpm", provides: "rpm", purpose: "reads the .rpm of dist" },
    Package { name: "lintian", provides: "lintian", purpose: "checks the .deb of dist" },
    Package { name: "pkgconf", provides: "pkg-config", purpose: "finds the library of dist" },
    Package { name: "umoci", provides: "umoci", purpose: "unpacks the image of dist" },
    Package { name: "fish", provides: "fish", purpose: "reads the completions of dist" },
    Package { name: "zsh", provides: "zsh", purpose: "reads the completions of dist" },
    Package {
        name: "busybox-static",
        provides: "busybox",
        purpose: "runs in the containers of tests/lab/runtimes",
    },
    Package { name: "runc", provides: "runc", purpose: "runs containers: tests/lab/runtimes" },
    Package { name: "podman", provides: "podman", purpose: "runs containers: tests/lab/runtimes" },
    Package { name: "containerd", provides: "containerd", purpose: "runs containers: tests/lab/runtimes" },
    Package { name: "docker.io", provides: "dockerd", purpose: "runs containers: tests/lab/runtimes" },
    Package { name: "lxc", provides: "lxc-start", purpose: "runs containers: tests/lab/runtimes" },
];

/// Installs what is missing. Failures are reported; the tests that need the package are skipped.
pub fn install() {
    let missing: Vec<&Package> = PACKAGES.iter().filter(|package| !is_installed(package.provides)).collect();
    if missing.is_empty() {
        return;
    }
    for Package { name, purpose, .. } in &missing {
        eprintln!("lab: installing {name}, which {purpose}");
    }
    let missing: Vec<&str> = missing.into_iter().map(|package| package.name).collect();
    let Some(apt) = which("apt-get") else {
        eprintln!("lab: no apt-get; install these yourself: {}", missing.join(" "));
        return;
    };
    if let Err(error) = update(&apt) {
        eprintln!("lab: {error:#}");
    }
    if install_now(&apt, &missing).is_ok() {
        return;
    }
    // A package that this distribution does not have must not block the others.
    for package in missing {
        if let Err(error) = install_now(&apt, &[package]) {
            eprintln!("lab: {package} is unavailable: {error:#}");
        }
    }
}

fn is_installed(provides: &str) -> bool {
    if provides.starts_with('/') { Path::new(provides).exists() } else { which(provides).is_some() }
}

fn update(apt: &Path) -> Result<()> {
    run(quiet(&mut as_root(apt)?).args(["update", "-qq"])).context("failed to update the package lists")
}

fn install_now(apt: &Path, packages: &[&str]) -> Result<()> {
    run(quiet(&mut as_root(apt)?)
        .args(["install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"])
        .args(packages))
}

/// Makes apt non-interactive.
fn quiet(command: &mut Command) -> &mut Command {
    command.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr())
}
