//! What the kernel program costs: loads and attaches it, makes and removes cgroups and processes for it to see,
//! and prints each program's size to the verifier and its mean time a run, by the kernel's own clock.
//!
//! `cargo run --example probe -- FOLDER [PAIRS]` as root; FOLDER is a cgroup to make others in.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};
use cgtrace::daemon::probe::{Options, Probe, Records as _};

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder =
        PathBuf::from(arguments.next().context("name a cgroup's folder")?).join("cgtrace-test-probe");
    let pairs: u32 = arguments.next().map_or(Ok(10_000), |pairs| pairs.to_string_lossy().parse())?;
    let mut watched = [0; 16];
    watched[..4].copy_from_slice(b"true");
    let mut probe = Probe::start(&Options { tracked: vec![watched], ..Options::default() })?;
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
