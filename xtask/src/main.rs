//! Every habit of the project, one file a subcommand. `cargo xtask` lists them.

mod bench;
mod build;
mod command;
mod dist;
mod fuzz;
mod lab;
mod lint;
mod run;
mod setup;
mod soak;
mod test;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::build::Profile;

/// cgtrace's habits.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true, arg_required_else_help = true)]
struct Xtask {
    #[command(subcommand)]
    habit: Habit,
}

#[derive(Subcommand)]
enum Habit {
    /// Install what building the kernel program needs, where it is missing
    Setup,
    /// Build cgtrace
    Build {
        /// Optimised, as it is shipped
        #[arg(long)]
        release: bool,
    },
    /// Build cgtrace and run it as root; without arguments it prints live cgroup events
    Run {
        /// Arguments for cgtrace
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Bring what tests run against, where it is missing: packages, a real systemd's root file system
    Lab,
    /// Run every test: units, documents and, as root, the promises against the real kernel
    Test {
        /// Only tests whose names contain this
        filter: Option<String>,
    },
    /// Pack all that is published: static program, .deb, .rpm, image, documents, checksums, SBOM
    Dist,
    /// Run the promises on other kernels and in other cgroup modes, in virtual machines
    Vm {
        /// Kernels of the matrix, like 6.1; all, if none
        kernels: Vec<String>,
        /// Modes: v1, hybrid, v2, systemd; all, if none
        #[arg(long = "cgroup", value_name = "MODE", value_delimiter = ',')]
        modes: Vec<vm::Mode>,
        /// Every test that can run in a machine, not only the short part
        #[arg(long)]
        all: bool,
        /// Only tests whose names contain this
        #[arg(long, value_name = "NAME", conflicts_with_all = ["all", "short"])]
        test: Option<String>,
        /// Write the newest of every machine that was run to docs/internals/compatibility.md
        #[arg(long, conflicts_with = "test")]
        write: bool,
        /// The part that every submission runs: some kernels, and each mode once
        #[arg(long, conflicts_with_all = ["kernels", "modes", "all"])]
        short: bool,
    },
    /// Check formatting, lints and documents
    Lint,
    /// Change cgroups at random, stop, kill and start the daemon under it, and see what holds at the end, as root
    Soak {
        /// For so long
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
        /// What the randomness begins with
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Write the result there, as JSON
        #[arg(long, value_name = "FILE")]
        json: Option<std::path::PathBuf>,
    },
    /// Feed whatever reads bytes from outside with bytes that nobody thought of
    Fuzz {
        /// For so long each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Targets; all, if none
        targets: Vec<String>,
    },
    /// Measure against the untraced kernel and against other tracers, as root
    Bench {
        /// Groups of figures (all, if none), and --json FILE
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match perform(Xtask::parse().habit) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(habit: Habit) -> Result<ExitCode> {
    match habit {
        Habit::Setup => setup::setup()?,
        Habit::Build { release } => build::build(if release { Profile::Release } else { Profile::Dev })?,
        Habit::Run { arguments } => return run::run(&arguments),
        Habit::Test { filter } => return test::test(filter.as_deref()),
        Habit::Lab => lab::lab()?,
        Habit::Dist => println!("{}", dist::dist()?.display()),
        Habit::Vm { kernels, modes, all, write, short, test } => {
            return vm::vm(&vm::Options { kernels, modes, all, write, short, test });
        }
        Habit::Lint => lint::lint()?,
        Habit::Soak { minutes, seed, json } => soak::soak(minutes, seed, json.as_deref())?,
        Habit::Fuzz { seconds, targets } => return fuzz::fuzz(seconds, &targets),
        Habit::Bench { arguments } => bench::bench(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
