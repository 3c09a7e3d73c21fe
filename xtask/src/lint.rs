//! `lint`.

use anyhow::Result;

use crate::{
    command::{cargo, run},
    setup::setup,
};

/// Formatting, lints and documents; any warning is an error.
pub fn lint() -> Result<()> {
    setup()?;
    run(cargo()?.args(["fmt", "--all", "--check"]))?;
    run(cargo()?.args(["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    run(cargo()?.args(["doc", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}
