//! The project's commands, one file per subcommand. `cargo xtask` lists them.

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

/// Builds, tests and packages cgtrace
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true, arg_required_else_help = true)]
struct Xtask {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the build of the kernel program needs
    Setup,
    /// Build cgtrace, with debug information
    Build {
        /// Optimised, as it is shipped, with LTO
        #[arg(long)]
        release: bool,
    },
    /// Build cgtrace fast and run it as root; without arguments, print live cgroup events
    Run {
        /// Arguments for cgtrace
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Install what tests run against: packages, a root file system with systemd
    Lab,
    /// Run every test: unit tests, documents and, as root, tests against the real kernel
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Build the release: static program, .deb, .rpm, image, documents, checksums, SBOM
    Dist,
    /// Run the tests on other kernels and in other cgroup modes, in virtual machines
    Vm {
        /// Kernels of the matrix, such as 6.1 [default: all]
        kernels: Vec<String>,
        /// Modes: v1, hybrid, v2, systemd [default: all]
        #[arg(long = "cgroup", value_name = "MODE", value_delimiter = ',')]
        modes: Vec<vm::Mode>,
        /// Every test that can run in a virtual machine, not only the short ones
        #[arg(long)]
        all: bool,
        /// Only tests whose name contains this
        #[arg(long, value_name = "NAME", conflicts_with_all = ["all", "short"])]
        test: Option<String>,
        /// Write the latest result of every virtual machine to docs/internals/compatibility.md
        #[arg(long, conflicts_with = "test")]
        write: bool,
        /// The part that CI runs: some kernels, and each mode once
        #[arg(long, conflicts_with_all = ["kernels", "modes", "all"])]
        short: bool,
    },
    /// Check formatting, lints, documents and dependencies
    Lint,
    /// As root, change cgroups at random while the daemon is stopped, killed and started; check the result
    Soak {
        /// Duration, in minutes
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
        /// Seed of the random number generator
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Write the result to FILE, as JSON
        #[arg(long, value_name = "FILE")]
        json: Option<std::path::PathBuf>,
    },
    /// Fuzz everything that parses untrusted input
    Fuzz {
        /// Duration per target, in seconds
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Targets [default: all]
        targets: Vec<String>,
    },
    /// Run the benchmarks as root: against the untraced kernel and against other tracers
    Bench {
        /// Groups of benchmarks [default: all], and --json FILE
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match perform(Xtask::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::setup()?,
        Task::Build { release } => build::build(if release { Profile::Release } else { Profile::Dev })?,
        Task::Run { arguments } => return run::run(&arguments),
        Task::Test { filter } => return test::test(filter.as_deref()),
        Task::Lab => lab::lab()?,
        Task::Dist => println!("{}", dist::dist()?.display()),
        Task::Vm { kernels, modes, all, write, short, test } => {
            return vm::vm(&vm::Options { kernels, modes, all, write, short, test });
        }
        Task::Lint => lint::lint()?,
        Task::Soak { minutes, seed, json } => soak::soak(minutes, seed, json.as_deref())?,
        Task::Fuzz { seconds, targets } => return fuzz::fuzz(seconds, &targets),
        Task::Bench { arguments } => bench::bench(&arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
