//! `vm`: the promises on other kernels and in other cgroup modes, in virtual machines.
//!
//! A kernel comes from Debian's packages, unpacked and never installed. It boots under QEMU, emulated, with an
//! initramfs that has the statically linked program and tests; there is no disk and no network.

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

/// How cgroups are mounted in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each controller on a hierarchy of its own, and `name=systemd`.
    V1,
    /// The same, and v2 beside it.
    Hybrid,
    /// v2 alone.
    V2,
    /// v2 alone, with a real systemd as PID 1.
    Systemd,
}

impl Mode {
    const ALL: [Self; 4] = [Self::V1, Self::Hybrid, Self::V2, Self::Systemd];

    fn word(self) -> &'static str {
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
            .find(|mode| mode.word() == word)
            .ok_or_else(|| format!("no mode `{word}`; there are: v1, hybrid, v2, systemd"))
    }
}

/// What to run.
#[derive(Debug, Default)]
pub struct Options {
    /// Series of kernels, like `6.1`; the matrix's, if none.
    pub kernels: Vec<String>,
    /// Modes; all, if none.
    pub modes: Vec<Mode>,
    /// Every test that can run in a machine, instead of the short part.
    pub all: bool,
    /// Write the table to `docs/internals/compatibility.md`.
    pub write: bool,
    /// The machines that every submission boots, instead of the above.
    pub short: bool,
    /// Only tests whose names contain this, instead of those that a mode has.
    pub test: Option<String>,
}

/// The machines that every submission boots: the eldest, a middle and the newest kernel, and each mode.
const SHORT: [(&str, Mode); 4] =
    [("5.10", Mode::V1), ("6.1", Mode::Hybrid), ("newest", Mode::V2), ("newest", Mode::Systemd)];

/// Programs that it needs, and Debian's packages that have them.
const NEEDS: [(&str, &str); 3] =
    [("qemu-system-x86_64", "qemu-system-x86"), ("busybox", "busybox-static"), ("cpio", "cpio")];

/// Runs the tests of each kernel in each mode.
pub fn vm(options: &Options) -> Result<ExitCode> {
    let cells = cells(options)?;
    let mut table = Table::default();
    if let Err(error) = install() {
        // Without QEMU nothing of a submission is wrong; who asks for machines wants to know.
        if !options.short {
            return Err(error);
        }
        eprintln!("vm: no machine can be booted here: {error:#}");
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

/// Which kernels are to be run, in which modes.
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
    // A kernel that cannot be had is asked for once, and is a row of the table, too.
    let mut kernels: Vec<(Series, Result<Kernel, String>)> = Vec::new();
    for (series, mode) in cells {
        if kernels.last().is_none_or(|(last, _)| last != series) {
            let fetched = Kernel::fetch(*series).map_err(|error| format!("{error:#}"));
            if let Err(error) = &fetched {
                eprintln!("vm: no kernel {}: {error}", series.name);
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
            // After each, so that what was run is not lost if the rest is interrupted.
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
            "no root file system of systemd: see `cargo xtask lab`",
        ));
    };
    let machine =
        Machine { kernel: &kernel.image, archive, mode, all: options.all, test: options.test.as_deref() };
    let ran = machine.run()?;
    if options.test.is_none() {
        // Of systemd's machines there is one test, which is all.
        let part = if options.all || mode == Mode::Systemd { "all" } else { "short" };
        record::ran(kernel.series, mode, &kernel.version, part, &ran)?;
    }
    let cell = Cell::of(&kernel.version, mode, ran);
    if cell.outcome != Outcome::Green {
        let log = lab::folder()?.join(format!("vm-{}-{}.log", kernel.series.name, mode.word()));
        std::fs::write(&log, &cell.console).with_context(|| format!("failed to write {}", log.display()))?;
        eprintln!("vm: {} {}: the console is in {}", kernel.version, mode.word(), log.display());
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
        bail!("no {}; install them with this system's packages", missing.join(", "));
    };
    if !is_root() && which("sudo").is_none() {
        bail!("no {}; install them as root: apt-get install {}", missing.join(", "), missing.join(" "));
    }
    run(as_root(&apt)?.args(["-qq", "update"]))?;
    run(as_root(&apt)?.args(["-qq", "install", "-y", "--no-install-recommends"]).args(missing))
}

/// Runs a command and hands on its failure with its name.
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

/// A path below a folder that stands for a root: `/bin/sh` in `DIR` is `DIR/bin/sh`.
fn below(root: &Path, absolute: &Path) -> std::path::PathBuf {
    root.join(absolute.strip_prefix("/").unwrap_or(absolute))
}
