//! `setup`: what building the kernel program needs: a rustc with `core` for BPF, and bpf-linker.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::command::{as_root, cargo, output, run, target, which};

/// Debian's rustc, its `core` for BPF, and the LLVM of that rustc, which bpf-linker must be built with.
const PACKAGES: [&str; 5] =
    ["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf", "llvm-22-dev", "libpolly-22-dev"];

/// The rustup toolchain by which `build.rs` finds Debian's rustc.
const LINKED: &str = "cgtrace-bpf";

/// Where Debian keeps the LLVM of its rustc.
const LLVM: &str = "/usr/lib/llvm-22";

const LINKER: &str = "0.13.0";

/// Where `core` for BPF lies below a sysroot.
const BPF_CORE: &str = "lib/rustlib/bpfel-unknown-none/lib";

/// Which rustc builds the kernel program.
enum Toolchain {
    /// rustup's nightly, with `rust-src`.
    Nightly,
    /// The distribution's, with `core` for BPF.
    Debian,
}

/// Installs what is missing; says nothing but one line when nothing is.
pub fn setup() -> Result<()> {
    let toolchain = match present() {
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

/// The toolchain that is there already, in the order in which cgtrace's `build.rs` chooses.
fn present() -> Option<Toolchain> {
    if which("rustup").is_none() {
        let sysroot = output("rustc", &["--print", "sysroot"]).map(PathBuf::from)?;
        return sysroot.join(BPF_CORE).is_dir().then_some(Toolchain::Debian);
    }
    if sysroot("nightly").is_some_and(|at| at.join("lib/rustlib/src/rust/library/core").is_dir()) {
        return Some(Toolchain::Nightly);
    }
    sysroot(LINKED).is_some_and(|at| at.join(BPF_CORE).is_dir()).then_some(Toolchain::Debian)
}

/// Installs a toolchain: Debian's packages where there are such, else nightly by rustup.
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

/// False if this system has no such packages.
fn install_packages() -> Result<bool> {
    let Some(apt) = which("apt-get") else { return Ok(false) };
    run(as_root(&apt)?.args(["update", "-qq"]))
        .context("the package lists could not be brought up to date")?;
    let policy = output("apt-cache", &["policy", "libstd-rust-web-dev-bpf"]).unwrap_or_default();
    if !policy.lines().any(|line| line.contains("Candidate:") && !line.contains("(none)")) {
        return Ok(false);
    }
    run(as_root(&apt)?.args(["install", "-y", "-qq", "--no-install-recommends"]).args(PACKAGES))
        .with_context(|| format!("install them by hand: apt-get install {}", PACKAGES.join(" ")))?;
    Ok(true)
}

fn install_nightly() -> Result<Toolchain> {
    if which("rustup").is_none() {
        bail!(
            "there is neither rustup nor Debian's package libstd-rust-web-dev-bpf to build the kernel program \
             with; install rustup, then run `cargo xtask setup` again"
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
    .context("rustup could not bring nightly with rust-src, which builds the kernel program")?;
    Ok(Toolchain::Nightly)
}

/// bpf-linker in a folder of the target folder, where cgtrace's `build.rs` looks.
fn linker(toolchain: &Toolchain) -> Result<PathBuf> {
    let root = target()?.join("cgtrace-tools");
    let linker = root.join("bin/bpf-linker");
    let version = linker.to_str().and_then(|linker| output(linker, &["--version"]));
    if version.is_some_and(|version| version.ends_with(LINKER)) {
        return Ok(linker);
    }
    let mut install = install_tool("bpf-linker", LINKER, &root)?;
    if matches!(toolchain, Toolchain::Debian) {
        // The bitcode of rustc 1.96 is LLVM 22's, and the default feature is llvm-23.
        install
            .args(["--no-default-features", "--features", "llvm-22"])
            .env("LLVM_SYS_221_PREFIX", LLVM)
            // bpf-linker's build script reads this; without it, it takes the first libdir of /usr.
            .env("LLVM_PREFIX", LLVM);
    }
    run(&mut install).context("bpf-linker, which links the kernel program, could not be installed")?;
    Ok(linker)
}

/// `cargo install` of a tool into `root`, unoptimised. That takes a third of the CPU time, and these tools wait for
/// LLVM or the disk.
fn install_tool(name: &str, version: &str, root: &Path) -> Result<Command> {
    let mut install = cargo()?;
    install
        .args(["install", name, "--version", version, "--locked", "--quiet", "--root"])
        .arg(root)
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    Ok(install)
}
