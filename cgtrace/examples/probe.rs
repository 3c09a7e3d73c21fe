//! Measures the cost of the kernel program: loads and attaches it, creates and removes cgroups and processes,
//! and prints each program's verified instructions and mean run time, by the kernel's statistics.
//!
//! `cargo run --example probe -- DIR [PAIRS]` as root; DIR is the cgroup to create others in.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};
use cgtrace::daemon::probe::{Options, Probe, Records as _};

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().context("missing argument: a cgroup directory")?)
        .join("cgtrace-test-probe");
    let pairs: u32 = arguments.next().map_or(Ok(10_000), |pairs| pairs.to_string_lossy().parse())?;
    let mut tracked = [0; 16];
    tracked[..4].copy_from_slice(b"true");
    let mut probe = Probe::start(&Options { tracked: vec![tracked], ..Options::default() })?;
    let _stats = enable_stats(Stats::RunTime)?;
    let mut events = 0;
    for pair in 0..pairs {
        std::fs::create_dir(&folder)?;
        std::fs::remove_dir(&folder)?;
        if pair % 100 == 0 {
            Command::new("true").status()?;
            events += probe.drain(&mut drop).events;
        }
    }
    events += probe.drain(&mut drop).events;
    println!("{events} events, losses {:?}", probe.losses()?);
    println!("{:26} {:>12} {:>8} {:>8}", "program", "instructions", "runs", "ns/run");
    for program in probe.programs() {
        let mean = program.run_ns.checked_div(program.run_count).unwrap_or_default();
        let note = program.note.unwrap_or_default();
        let instructions = program.verified_instructions;
        println!("{:26} {instructions:>12} {:>8} {mean:>8}  {note}", program.name, program.run_count);
    }
    Ok(())
}
