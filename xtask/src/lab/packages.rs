//! What tests need of the distribution.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::command::{as_root, run, which};

/// A package of Debian.
struct Package {
    name: &'static str,
    /// A program on PATH, or a file, that is there if the package is.
    sign: &'static str,
    /// What it is for.
    why: &'static str,
}

const PACKAGES: &[Package] = &[
    Package { name: "mmdebstrap", sign: "mmdebstrap", why: "builds the root file systems of the lab" },
    Package {
        name: "systemd-container",
        sign: "systemd-nspawn",
        why: "boots a real systemd in a container: tests/lab",
    },
    Package { name: "strace", sign: "strace", why: "records what the daemon opens: tests/hostile" },
    Package { name: "golang-go", sign: "go", why: "builds the Go example: tests/clients" },
    Package { name: "rpm", sign: "rpm", why: "reads the .rpm that dist makes" },
    Package { name: "pkgconf", sign: "pkg-config", why: "finds the library that dist packs" },
    Package { name: "umoci", sign: "umoci", why: "unpacks the image that dist makes" },
    Package { name: "fish", sign: "fish", why: "reads the completions that dist makes" },
    Package { name: "zsh", sign: "zsh", why: "reads the completions that dist makes" },
    Package {
        name: "busybox-static",
        sign: "busybox",
        why: "is what runs in the containers of tests/lab/runtimes",
    },
    Package { name: "runc", sign: "runc", why: "runs containers: tests/lab/runtimes" },
    Package { name: "podman", sign: "podman", why: "runs containers: tests/lab/runtimes" },
    Package { name: "containerd", sign: "containerd", why: "runs containers: tests/lab/runtimes" },
    Package { name: "docker.io", sign: "dockerd", why: "runs containers: tests/lab/runtimes" },
    Package { name: "lxc", sign: "lxc-start", why: "runs containers: tests/lab/runtimes" },
];

/// Installs what is missing. What fails is reported; the tests that need it find it missing, and skip.
pub fn install() {
    let missing: Vec<&Package> = PACKAGES.iter().filter(|package| !is_there(package.sign)).collect();
    if missing.is_empty() {
        return;
    }
    for Package { name, why, .. } in &missing {
        eprintln!("lab: no {name} yet, which {why}");
    }
    let missing: Vec<&str> = missing.into_iter().map(|package| package.name).collect();
    let Some(apt) = which("apt-get") else {
        eprintln!("lab: no apt-get here; install by hand: {}", missing.join(" "));
        return;
    };
    if let Err(error) = update(&apt) {
        eprintln!("lab: {error:#}");
    }
    if install_now(&apt, &missing).is_ok() {
        return;
    }
    // One that this distribution does not have must not keep the others away.
    for package in missing {
        if let Err(error) = install_now(&apt, &[package]) {
            eprintln!("lab: no {package}: {error:#}");
        }
    }
}

fn is_there(sign: &str) -> bool {
    if sign.starts_with('/') { Path::new(sign).exists() } else { which(sign).is_some() }
}

fn update(apt: &Path) -> Result<()> {
    run(quiet(&mut as_root(apt)?).args(["update", "-qq"]))
        .context("the package lists could not be brought up to date")
}

fn install_now(apt: &Path, packages: &[&str]) -> Result<()> {
    run(quiet(&mut as_root(apt)?)
        .args(["install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"])
        .args(packages))
}

/// No questions asked.
fn quiet(command: &mut Command) -> &mut Command {
    command.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr())
}
