//! libcgtrace's packages: a C program is built with the installed files, and queries a daemon.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::packages::{package, run};
use crate::support::{
    Outcome,
    daemon::{Daemon, program},
    overlay::Overlay,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dist::a_c_program_is_built_with_the_deb_of_the_library_and_runs", built),
        trial("dist::the_rpm_of_the_library_has_the_same", listed),
    ]
}

/// A daemon whose socket is visible in the overlay, too.
fn daemon() -> Result<Daemon> {
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let mut command = program();
    command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
    let mut daemon = Daemon::spawn_by(&mut command, folder)?;
    daemon.wait_ready()?;
    Ok(daemon)
}

fn built() -> Outcome {
    run(Command::new("pkg-config").arg("--version"))?;
    run(Command::new("cc").arg("--version"))?;
    let root = Overlay::new()?;
    let packages = [package("libcgtrace0", ".deb")?, package("libcgtrace-dev", ".deb")?];
    let packages = [root.bring(&packages[0])?, root.bring(&packages[1])?];
    run(root.command("dpkg").arg("--install").args(&packages))?;
    let source =
        root.bring(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol/examples/c/wait.c"))?;
    let daemon = daemon()?;
    for (linked, flags) in [
        (true, "$(pkg-config --cflags --libs libcgtrace)"),
        (
            false,
            "$(pkg-config --variable=libdir libcgtrace)/libcgtrace.a $(pkg-config --libs-only-other --static libcgtrace) -ldl -lm",
        ),
    ] {
        let compile = format!("cc -Wall -Werror {source} {flags} -o /root/wait");
        run(root.command("sh").args(["-c", &compile]))?;
        let needs = run(root.command("readelf").args(["-d", "/root/wait"]))?;
        ensure!(needs.contains("[libcgtrace.so.0]") == linked, "{flags}: {needs}");
        let socket = format!("CGTRACE_SOCKET={}", daemon.socket().display());
        let printed = run(root.command("env").args([&socket, "/root/wait", "/"]))?;
        ensure!(printed == "/: present\n", "{printed}");
    }
    run(root.command("dpkg").args(["--remove", "libcgtrace-dev", "libcgtrace0"]))?;
    ensure!(!root.command("test").args(["-e", "/usr/include/cgtrace.h"]).status()?.success());
    Ok(())
}

fn listed() -> Outcome {
    let files = |name| run(Command::new("rpm").arg("-qlp").arg(package(name, ".rpm")?));
    ensure!(files("libcgtrace")?.trim() == "/usr/lib64/libcgtrace.so.0");
    let development = files("libcgtrace-devel")?;
    for path in [
        "/usr/include/cgtrace.h",
        "/usr/lib64/libcgtrace.so",
        "/usr/lib64/libcgtrace.a",
        "/usr/lib64/pkgconfig/libcgtrace.pc",
    ] {
        ensure!(development.lines().any(|line| line == path), "{path}: {development}");
    }
    let requires = run(Command::new("rpm").arg("-qRp").arg(package("libcgtrace-devel", ".rpm")?))?;
    ensure!(requires.lines().any(|line| line.starts_with("libcgtrace = ")), "{requires}");
    let provides = run(Command::new("rpm").args(["-qp", "--provides"]).arg(package("libcgtrace", ".rpm")?))?;
    ensure!(provides.contains("libcgtrace.so.0()(64bit)"), "{provides}");
    Ok(())
}
