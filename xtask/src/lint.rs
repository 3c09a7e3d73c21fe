//! `lint`.

use anyhow::Result;

use crate::{
    command::{cargo, in_workspace, run},
    setup::{deny, setup},
};

/// Checks formatting, lints, documents and dependencies; any warning is an error.
pub fn lint() -> Result<()> {
    setup()?;
    run(cargo()?.args(["fmt", "--all", "--check"]))?;
    run(cargo()?.args(["clippy", "--all-targets", "--", "-D", "warnings"]))?;
    // Developers read the program's documents: a link to a private item leads somewhere.
    run(cargo()?
        .args(["doc", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))?;
    match deny() {
        Ok(program) => {
            run(in_workspace(&program)?.args(["--locked", "check", "bans", "licenses", "sources"]))
        }
        Err(error) => {
            eprintln!("lint: bans, licenses and sources were NOT checked: no cargo-deny: {error:#}");
            Ok(())
        }
    }
}
