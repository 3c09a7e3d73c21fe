//! `bench`.

use anyhow::Result;

use crate::{
    command::{cargo, run},
    setup::setup,
};

/// Measures; the arguments go to cgtrace/benches/figures.
pub fn bench(arguments: &[String]) -> Result<()> {
    setup()?;
    run(cargo()?.args(["bench", "-p", "cgtrace", "--bench", "figures", "--"]).args(arguments))
}
