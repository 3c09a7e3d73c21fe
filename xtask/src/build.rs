//! `build`.

use anyhow::Result;

use crate::{
    command::{cargo, run},
    setup::setup,
};

/// Sets up and builds.
pub fn build(release: bool) -> Result<()> {
    setup()?;
    let mut build = cargo()?;
    build.args(["build", "-p", "cgtrace"]);
    if release {
        build.arg("--release");
    }
    run(&mut build)
}
