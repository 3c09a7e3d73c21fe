//! `dist`: builds the release in `target/dist`.

use std::{env::consts::ARCH, path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use crate::{
    command::{cargo, output, run, target, workspace},
    setup::setup,
};

/// Builds the statically linked program and the packager. Returns their folder.
pub fn programs() -> Result<PathBuf> {
    let triple = format!("{ARCH}-unknown-linux-gnu");
    // With --target, RUSTFLAGS do not apply to build scripts and macros, which cannot be static.
    run(cargo()?
        .args(["build", "--locked", "--profile", "dist", "--target", &triple])
        .args(["-p", "cgtrace", "-p", "cgtrace-dist", "--bins"])
        .env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    Ok(target()?.join(triple).join("dist"))
}

/// Builds the program and the packages. Returns the folder of the packages.
pub fn dist() -> Result<PathBuf> {
    ensure!(
        std::env::var_os("CGTRACE_BPF_OBJECT").is_none(),
        "CGTRACE_BPF_OBJECT is set, but a release must contain a kernel program built from these sources; unset it"
    );
    setup()?;
    let built = programs()?;
    let triple = format!("{ARCH}-unknown-linux-gnu");
    // A shared library cannot be linked with these flags. A separate folder, because changed flags rebuild
    // everything.
    let library_target = target()?.join("dist-libraries");
    run(cargo()?
        .args(["build", "--locked", "--profile", "dist", "--target", &triple, "-p", "cgtrace-client-c"])
        .arg("--target-dir")
        .arg(&library_target)
        // The name that programs load, see dist/src/library.rs.
        .env("RUSTFLAGS", "-C link-arg=-Wl,-soname,libcgtrace.so.0"))?;
    let libraries = library_target.join(&triple).join("dist");
    let out = target()?.join("dist");
    let mut pack = Command::new(built.join("cgtrace-dist"));
    pack.arg("--program")
        .arg(built.join("cgtrace"))
        .arg("--libraries")
        .arg(&libraries)
        .arg("--workspace")
        .arg(workspace()?)
        .arg("--out")
        .arg(&out);
    if std::env::var_os("SOURCE_DATE_EPOCH").is_none() {
        let folder = workspace()?;
        let commit = folder.to_str().and_then(|at| output("git", &["-C", at, "log", "-1", "--format=%ct"]));
        pack.env("SOURCE_DATE_EPOCH", commit.unwrap_or_else(|| "0".to_owned()));
    }
    run(pack.stdout(std::process::Stdio::null()))?;
    Ok(out)
}
