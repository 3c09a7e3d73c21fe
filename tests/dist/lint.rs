//! lintian finds no error and nothing to warn of in the .deb files. What does not apply is overridden by the packages
//! themselves, with the reason: dist/src/debian.rs.

use std::process::Command;

use anyhow::ensure;
use libtest_mimic::Trial;

use super::packages::{package, run};
use crate::support::{Outcome, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("dist::lintian_finds_nothing_in_the_debs", clean)]
}

fn clean() -> Outcome {
    for name in ["cgtrace", "libcgtrace0", "libcgtrace-dev"] {
        let mut lintian = Command::new("lintian");
        lintian.args(["--allow-root", "--profile", "debian", "--tag-display-limit", "0"]);
        // The exit status depends on --fail-on, and is 0 without a tag that is listed.
        let found = run(lintian.args(["--fail-on", "none"]).arg(package(name, ".deb")?))?;
        ensure!(found.trim().is_empty(), "{name}:\n{found}");
    }
    Ok(())
}
