//! `bench`.

use anyhow::Result;

use crate::{
    command::{cargo, run},
    setup::setup,
};

/// Runs the benchmarks in cgtrace/benches/figures with these arguments.
pub fn bench(arguments: &[String]) -> Result<()> {
    setup()?;
    run(cargo()?.args(["bench", "-p", "cgtrace", "--bench", "figures", "--"]).args(arguments))
}
