//! `build`.

use anyhow::Result;

use crate::{
    command::{cargo, run},
    setup::setup,
};

/// A cargo profile of the workspace's `Cargo.toml`.
#[derive(Clone, Copy)]
pub enum Profile {
    /// Unoptimised, with debug information.
    Dev,
    /// Fast to build, and fast enough for the kernel's top rate.
    Quick,
    /// Optimised, as shipped.
    Release,
}

impl Profile {
    fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Quick => "quick",
            Self::Release => "release",
        }
    }
}

/// Sets up and builds the program.
pub fn build(profile: Profile) -> Result<()> {
    setup()?;
    run(cargo()?.args(["build", "-p", "cgtrace", "--bin", "cgtrace", "--profile", profile.as_str()]))
}
