//! `vm`: runs the tests on other kernels and in other cgroup modes, in virtual machines.
//!
//! A kernel is taken from Debian's packages, which are unpacked but not installed. QEMU emulates the machine.
//! Its initramfs contains the statically linked program and tests. There is no disk and no network.

mod initramfs;
mod kernels;
mod machine;
mod record;
mod skips;
mod table;

use std::{path::Path, process::ExitCode, str::FromStr};

use anyhow::{Context, Result, bail};

use crate::{
    command::{as_root, is_root, run, which},
    lab, setup,
};
use initramfs::{Initramfs, Kind};
use kernels::{Kernel, Series};
use machine::Machine;
use table::{Cell, Outcome, Table};

/// How cgroups are mounted in a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One v1 hierarchy per controller, and `name=systemd`.
    V1,
    /// The same, and v2.
    Hybrid,
    /// v2 only.
    V2,
    /// v2 only, with systemd as PID 1.
    Systemd,
}

impl Mode {
    const ALL: [Self; 4] = [Self::V1, Self::Hybrid, Self::V2, Self::Systemd];

    fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
            Self::Systemd => "systemd",
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.as_str() == word)
            .ok_or_else(|| format!("invalid mode `{word}`; expected v1, hybrid, v2 or systemd"))
    }
}

/// What to run.
#[derive(Debug, Default)]
pub struct Options {
    /// Series of kernels, such as `6.1`; empty: the whole matrix.
    pub kernels: Vec<String>,
    /// Modes; empty: all.
    pub modes: Vec<Mode>,
    /// Run every test that can run in a machine, not only the short ones.
    pub all: bool,
    /// Write the table to `docs/internals/compatibility.md`.
    pub write: bool,
    /// Boot the machines of CI, instead of the above.
    pub short: bool,
    /// Only tests whose name contains this, instead of those of the mode.
    pub test: Option<String>,
}

/// The machines of CI: the oldest, a middle and the newest kernel, and each mode.
const SHORT: [(&str, Mode); 4] =
    [("5.10", Mode::V1), ("6.1", Mode::Hybrid), ("newest", Mode::V2), ("newest", Mode::Systemd)];

/// Required programs, and their Debian packages.
const NEEDS: [(&str, &str); 3] =
    [("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("cpio", "cpio")];

/// Runs the tests of each kernel in each mode.
pub fn vm(options: &Options) -> Result<ExitCode> {
    let cells = cells(options)?;
    let mut table = Table::default();
    if let Err(error) = install() {
        // In CI, a missing QEMU is not a failure of the change.
        if !options.short {
            return Err(error);
        }
        eprintln!("vm: cannot boot machines: {error:#}");
        for (series, mode) in cells {
            table.add(Cell::skipped(series.name, mode, &format!("not available: {error:#}")));
        }
    } else {
        setup::setup()?;
        run_all(&cells, options, &mut table)?;
    }
    println!("{table}");
    println!("{}", table.closing());
    let failed = table.is_red() || !(table.has_run() || options.short);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The kernels to boot, each with a mode.
fn cells(options: &Options) -> Result<Vec<(Series, Mode)>> {
    if options.short {
        return SHORT.into_iter().map(|(name, mode)| Ok((Series::named(name)?, mode))).collect();
    }
    let modes = if options.modes.is_empty() { Mode::ALL.to_vec() } else { options.modes.clone() };
    let series = Series::chosen(&options.kernels)?;
    Ok(series.into_iter().flat_map(|series| modes.iter().map(move |mode| (series, *mode))).collect())
}

fn run_all(cells: &[(Series, Mode)], options: &Options, table: &mut Table) -> Result<()> {
    let initramfs = Initramfs::build(&cells.iter().map(|(_, mode)| *mode).collect::<Vec<_>>())?;
    // An unavailable kernel is downloaded only once, and still gets its rows.
    let mut kernels: Vec<(Series, Result<Kernel, String>)> = Vec::new();
    for (series, mode) in cells {
        if kernels.last().is_none_or(|(last, _)| last != series) {
            let fetched = Kernel::fetch(*series).map_err(|error| format!("{error:#}"));
            if let Err(error) = &fetched {
                eprintln!("vm: kernel {} is unavailable: {error}", series.name);
            }
            kernels.push((*series, fetched));
        }
        match kernels.last() {
            Some((_, Ok(kernel))) => table.add(cell(kernel, *mode, &initramfs, options)?),
            Some((_, Err(error))) => {
                let why = format!("not available: {error}");
                if options.test.is_none() {
                    record::skipped(*series, *mode, series.name, &why)?;
                }
                table.add(Cell::skipped(series.name, *mode, &why));
            }
            None => {}
        }
        if options.write {
            // After each machine, so that an interrupt does not lose results.
            record::all()?.write()?;
        }
    }
    Ok(())
}

fn cell(kernel: &Kernel, mode: Mode, initramfs: &Initramfs, options: &Options) -> Result<Cell> {
    let kind = if mode == Mode::Systemd { Kind::Systemd } else { Kind::Busybox };
    let Some(archive) = initramfs.of(kind) else {
        return Ok(Cell::skipped(
            &kernel.version,
            mode,
            "no root file system with systemd; see `cargo xtask lab`",
        ));
    };
    let machine =
        Machine { kernel: &kernel.image, archive, mode, all: options.all, test: options.test.as_deref() };
    let result = machine.run()?;
    if options.test.is_none() {
        // Machines with systemd run a single test, so that this is all.
        let part = if options.all || mode == Mode::Systemd { "all" } else { "short" };
        record::booted(kernel.series, mode, &kernel.version, part, &result)?;
    }
    let cell = Cell::of(&kernel.version, mode, result);
    if cell.outcome != Outcome::Green {
        let log = lab::folder()?.join(format!("vm-{}-{}.log", kernel.series.name, mode.as_str()));
        std::fs::write(&log, &cell.console).with_context(|| format!("failed to write {}", log.display()))?;
        eprintln!("vm: {} {}: console log in {}", kernel.version, mode.as_str(), log.display());
        for line in cell.failures() {
            eprintln!("vm:   {line}");
        }
    }
    eprintln!("vm: {cell}");
    Ok(cell)
}

fn install() -> Result<()> {
    let missing: Vec<&str> = NEEDS
        .into_iter()
        .filter(|(program, _)| which(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(apt) = which("apt-get") else {
        bail!("missing programs: {}; install them with this system's package manager", missing.join(", "));
    };
    if !is_root() && which("sudo").is_none() {
        bail!(
            "missing packages: {}; install them as root: apt-get install {}",
            missing.join(", "),
            missing.join(" ")
        );
    }
    run(as_root(&apt)?.args(["-qq", "update"]))?;
    run(as_root(&apt)?.args(["-qq", "install", "-y", "--no-install-recommends"]).args(missing))
}

/// Runs a command without showing its output. The error contains its stderr.
fn quietly(command: &mut std::process::Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("failed to start {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            command.get_program().display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// An absolute path, relative to a root folder: `/bin/sh` in `DIR` is `DIR/bin/sh`.
fn below(root: &Path, absolute: &Path) -> std::path::PathBuf {
    root.join(absolute.strip_prefix("/").unwrap_or(absolute))
}
