//! `setup`: installs what the build of the kernel program needs: a rustc with `core` for BPF, and bpf-linker.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::command::{as_root, cargo, output, run, target, which};

/// Debian's rustc, its `core` for BPF, and its LLVM, which bpf-linker must be built with.
const PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "libpolly-22-dev"];

/// The rustup toolchain under which `build.rs` finds Debian's rustc.
const LINKED: &str = "cgtrace-bpf";

/// The prefix of the LLVM of Debian's rustc.
const LLVM: &str = "/usr/lib/llvm-22";

/// The version of bpf-linker.
const LINKER: &str = "0.13.0";

/// The version of cargo-deny.
const DENY: &str = "0.20.2";

/// The folder of `core` for BPF, relative to a sysroot.
const BPF_CORE: &str = "lib/rustlib/bpfel-unknown-none/lib";

/// The rustc that builds the kernel program.
enum Toolchain {
    /// rustup's nightly, with `rust-src`.
    Nightly,
    /// The distribution's rustc, with `core` for BPF.
    Debian,
}

/// Installs what is missing. Prints a single line if nothing is.
pub fn setup() -> Result<()> {
    let toolchain = match installed() {
        Some(toolchain) => toolchain,
        None => install()?,
    };
    let linker = linker(&toolchain)?;
    let name = match toolchain {
        Toolchain::Nightly => "rustup's nightly with rust-src",
        Toolchain::Debian => "the distribution's rustc with core for BPF",
    };
    eprintln!("setup: {name}; {}", linker.display());
    Ok(())
}

fn sysroot(toolchain: &str) -> Option<PathBuf> {
    output("rustup", &["run", toolchain, "rustc", "--print", "sysroot"]).map(PathBuf::from)
}

/// The toolchain that is installed already, in the order in which cgtrace's `build.rs` chooses.
fn installed() -> Option<Toolchain> {
    if which("rustup").is_none() {
        let sysroot = output("rustc", &["--print", "sysroot"]).map(PathBuf::from)?;
        return sysroot.join(BPF_CORE).is_dir().then_some(Toolchain::Debian);
    }
    if sysroot("nightly").is_some_and(|at| at.join("lib/rustlib/src/rust/library/core").is_dir()) {
        return Some(Toolchain::Nightly);
    }
    sysroot(LINKED).is_some_and(|at| at.join(BPF_CORE).is_dir()).then_some(Toolchain::Debian)
}

/// Installs a toolchain: Debian's packages if they exist, otherwise rustup's nightly.
fn install() -> Result<Toolchain> {
    let debian = Path::new("/usr").join(BPF_CORE);
    if !debian.is_dir() && !install_packages()? {
        return install_nightly();
    }
    if which("rustup").is_some() {
        run(Command::new("rustup").args(["toolchain", "link", LINKED, "/usr"]))?;
    }
    Ok(Toolchain::Debian)
}

/// Installs Debian's packages. Returns `false` if this system does not have them.
fn install_packages() -> Result<bool> {
    let Some(apt) = which("apt-get") else { return Ok(false) };
    run(as_root(&apt)?.args(["update", "-qq"])).context("failed to update the package lists")?;
    let policy = output("apt-cache", &["policy", "libstd-rust-web-dev-bpf"]).unwrap_or_default();
    if !policy.lines().any(|line| line.contains("Candidate:") && !line.contains("(none)")) {
        return Ok(false);
    }
    run(as_root(&apt)?.args(["install", "-y", "-qq", "--no-install-recommends"]).args(PACKAGES))
        .with_context(|| {
            format!(
                "failed to install packages; install them yourself: apt-get install {}",
                PACKAGES.join(" ")
            )
        })?;
    Ok(true)
}

fn install_nightly() -> Result<Toolchain> {
    if which("rustup").is_none() {
        bail!(
            "neither rustup nor Debian's package libstd-rust-web-dev-bpf is available to build the kernel program; \
             install rustup, then run `cargo xtask setup` again"
        );
    }
    run(Command::new("rustup").args([
        "toolchain",
        "install",
        "nightly",
        "--profile",
        "minimal",
        "--component",
        "rust-src",
    ]))
    .context("rustup failed to install nightly with rust-src, which builds the kernel program")?;
    Ok(Toolchain::Nightly)
}

/// Installs bpf-linker in the target folder, where cgtrace's `build.rs` searches for it.
fn linker(toolchain: &Toolchain) -> Result<PathBuf> {
    install_tool("bpf-linker", LINKER, |install| {
        if matches!(toolchain, Toolchain::Debian) {
            // The bitcode of rustc 1.96 is LLVM 22's, and the default feature is llvm-23.
            install
                .args(["--no-default-features", "--features", "llvm-22"])
                .env("LLVM_SYS_221_PREFIX", LLVM)
                // bpf-linker's build script reads this; without it, it takes the first libdir of /usr.
                .env("LLVM_PREFIX", LLVM);
        }
    })
    .context("failed to install bpf-linker, which links the kernel program")
}

/// Finds cargo-deny of the pinned version on PATH, or installs it. Only `lint` needs it.
pub fn deny() -> Result<PathBuf> {
    if let Some(program) = which("cargo-deny").filter(|program| is_version(program, DENY)) {
        return Ok(program);
    }
    install_tool("cargo-deny", DENY, |install| _ = install.arg("--no-default-features"))
        .context("failed to install cargo-deny")
}

/// Installs a crate's program of the same name in the target folder, unless this version is there already.
/// `options` adds to the command.
///
/// The build is not optimised, which takes a third of the CPU time: bpf-linker spends its time in LLVM,
/// cargo-deny in cargo.
fn install_tool(name: &str, version: &str, options: impl FnOnce(&mut Command)) -> Result<PathBuf> {
    let root = target()?.join("cgtrace-tools");
    let program = root.join("bin").join(name);
    if is_version(&program, version) {
        return Ok(program);
    }
    let mut install = cargo()?;
    install
        .args(["install", name, "--version", version, "--locked", "--quiet", "--root"])
        .arg(root)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    options(&mut install);
    run(&mut install)?;
    Ok(program)
}

/// Whether `program --version` prints this version.
fn is_version(program: &Path, version: &str) -> bool {
    let printed = program.to_str().and_then(|program| output(program, &["--version"]));
    printed.is_some_and(|printed| printed.split(' ').next_back() == Some(version))
}
