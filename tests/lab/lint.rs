//! lintian finds nothing in the .deb files.

use std::process::Command;

use anyhow::ensure;
use libtest_mimic::Trial;

use super::packages::{package, run};
use crate::support::{Outcome, trial};

pub fn trials() -> Vec<Trial> {
    vec![trial("dist::lintian_finds_nothing", clean)]
}

fn clean() -> Outcome {
    for name in ["cgtrace", "libcgtrace0", "libcgtrace-dev"] {
        let found = run(Command::new("lintian").arg("--allow-root").arg(package(name, ".deb")?))?;
        ensure!(found.trim().is_empty(), "{name}: {found}");
    }
    Ok(())
}
