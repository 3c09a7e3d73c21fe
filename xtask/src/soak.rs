//! `soak`.

use std::path::Path;

use anyhow::Result;

use crate::{
    command::{cargo, is_root, run, which},
    lab::stress_ng,
    setup::setup,
};

/// Runs tests/soak.
pub fn soak(minutes: f64, seed: u64, json: Option<&Path>) -> Result<()> {
    setup()?;
    let mut command = cargo()?;
    match stress_ng::fetch() {
        Ok(program) => _ = command.env("CGTRACE_STRESS_NG", program),
        // The soak reports that it ran without stress-ng.
        Err(error) => eprintln!("soak: no stress-ng: {error:#}"),
    }
    command.args(["test", "-p", "cgtrace", "--test", "soak", "--"]);
    if !is_root() && which("sudo").is_some() {
        command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo -E");
    }
    command.args(["--minutes", &minutes.to_string(), "--seed", &seed.to_string()]);
    if let Some(json) = json {
        // Absolute, because the test runs in its package's folder.
        command.arg("--json").arg(std::path::absolute(json)?);
    }
    run(&mut command)
}
