//! Builds the kernel program, which the library embeds, with the first of these that is available:
//!
//! 1. `CGTRACE_BPF_OBJECT=FILE`: no toolchain, but a prebuilt object (for packagers);
//! 2. `CGTRACE_BPF_TOOLCHAIN=NAME`: that rustup toolchain;
//! 3. rustup's `nightly`, if it has `rust-src` (the usual one for aya);
//! 4. a rustc with prebuilt `core` for BPF (Debian's `rustc-web` with `libstd-rust-web-dev-bpf`): the rustup
//!    toolchain `cgtrace-bpf` that `cargo xtask setup` links, or without rustup, the rustc on PATH.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya_build::{Package, Toolchain};

/// The rustup toolchain that `cargo xtask setup` links to the distribution's rustc.
const LINKED: &str = "cgtrace-bpf";

/// The remedy for every failure in this file.
const NEXT_STEP: &str = "run `cargo xtask setup`, which installs what is missing, then build again";

fn main() -> Result<()> {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().context("cgtrace's folder has no parent")?;
    // aya-build watches the kernel program's folder. cgtrace-common is its only dependency in the workspace.
    for path in ["cgtrace-common", "cgtrace-ebpf", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["CGTRACE_BPF_OBJECT", "CGTRACE_BPF_TOOLCHAIN"] {
        println!("cargo:rerun-if-env-changed={name}");
    }

    let out = PathBuf::from(variable("OUT_DIR")?);
    if let Some(object) = env::var_os("CGTRACE_BPF_OBJECT") {
        let object = PathBuf::from(object);
        println!("kernel program: {}, set by CGTRACE_BPF_OBJECT", object.display());
        println!("cargo:rerun-if-changed={}", object.display());
        fs::copy(&object, out.join("cgtrace"))
            .with_context(|| format!("failed to copy CGTRACE_BPF_OBJECT `{}`", object.display()))?;
        return Ok(());
    }

    let (toolchain, reason) = choose()?;
    println!("kernel program: built by {toolchain}: {reason}");
    let linker = find_linker(workspace, &out)?;
    println!("kernel program: linked by {}", linker.display());
    let linker_folder = linker.parent().context("bpf-linker has no folder")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(linker_folder.to_path_buf()).chain(env::split_paths(&path)))
        .with_context(|| format!("the folder `{}` cannot be part of PATH", linker_folder.display()))?;
    // SAFETY: this process has one thread. The variables are for its child, the cargo that builds the kernel
    // program; aya-ebpf needs the unstable feature `asm_experimental_arch`.
    unsafe {
        env::set_var("PATH", path);
        env::set_var("RUSTC_BOOTSTRAP", "aya_ebpf");
        // aya-build prints that cargo's output as warnings, which cargo repeats at every build.
        env::set_var("CARGO_TERM_QUIET", "true");
    }
    let program = workspace.join("cgtrace-ebpf");
    let root_dir = program.to_str().with_context(|| format!("`{}` is not UTF-8", program.display()))?;
    aya_build::build_ebpf(
        [Package { name: "cgtrace-ebpf", root_dir, ..Package::default() }],
        Toolchain::Custom(&toolchain),
    )
    .with_context(|| format!("failed to build the kernel program with {toolchain}; {NEXT_STEP}"))?;
    let object = out.join("cgtrace");
    ensure!(object.is_file(), "the build of the kernel program did not create `{}`", object.display());
    Ok(())
}

fn variable(name: &str) -> Result<OsString> {
    env::var_os(name).with_context(|| format!("cargo did not set {name}"))
}

/// The toolchain to use, and the reason.
fn choose() -> Result<(String, String)> {
    let has_rustup = run("rustup", &["--version"]).is_some();
    if let Ok(name) = env::var("CGTRACE_BPF_TOOLCHAIN") {
        ensure!(
            has_rustup,
            "CGTRACE_BPF_TOOLCHAIN=`{name}` requires rustup, which is not on PATH; unset it or {NEXT_STEP}"
        );
        return Ok((name, "set by CGTRACE_BPF_TOOLCHAIN".to_owned()));
    }
    let bpf_core = if variable("CARGO_CFG_TARGET_ENDIAN")? == "big" {
        "lib/rustlib/bpfeb-unknown-none/lib"
    } else {
        "lib/rustlib/bpfel-unknown-none/lib"
    };
    if !has_rustup {
        let Some(sysroot) = run("rustc", &["--print", "sysroot"]) else {
            bail!("neither rustup nor rustc is on PATH, and the kernel program needs one; {NEXT_STEP}");
        };
        ensure!(
            Path::new(&sysroot).join(bpf_core).is_dir(),
            "the rustc on PATH cannot build the kernel program: no `{bpf_core}` in `{sysroot}`; {NEXT_STEP}"
        );
        return Ok((
            "the rustc on PATH".to_owned(),
            "it has core for BPF, and there is no rustup".to_owned(),
        ));
    }
    let sysroot =
        |name: &str| run("rustup", &["run", name, "rustc", "--print", "sysroot"]).map(PathBuf::from);
    if sysroot("nightly").is_some_and(|at| at.join("lib/rustlib/src/rust/library/core").is_dir()) {
        return Ok(("nightly".to_owned(), "it has rust-src".to_owned()));
    }
    if sysroot(LINKED).is_some_and(|at| at.join(bpf_core).is_dir()) {
        return Ok((LINKED.to_owned(), "it has core for BPF, and nightly has no rust-src".to_owned()));
    }
    bail!(
        "no toolchain can build the kernel program: rustup's nightly has no rust-src, and there is no toolchain \
         `{LINKED}` with core for BPF; {NEXT_STEP}"
    );
}

/// The trimmed standard output of a command, if it succeeds.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        // Otherwise, rustup installs a missing toolchain.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env_remove("RUSTC")
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The bpf-linker that `cargo xtask setup` installed in the target folder, otherwise the one on PATH.
fn find_linker(workspace: &Path, out: &Path) -> Result<PathBuf> {
    // OUT_DIR is in the target folder, wherever that is.
    let installed = out
        .ancestors()
        .chain([workspace.join("target").as_path()])
        .map(|folder| folder.join("cgtrace-tools/bin/bpf-linker"))
        .find(|linker| linker.is_file());
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path =
        || env::split_paths(&path).map(|folder| folder.join("bpf-linker")).find(|linker| linker.is_file());
    installed.or_else(on_path).with_context(|| {
        format!("bpf-linker is neither in target/cgtrace-tools/bin nor on PATH; {NEXT_STEP}")
    })
}
