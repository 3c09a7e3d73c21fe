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
    // The program's documents are for its developers: a link to what is private in it leads somewhere.
    run(cargo()?
        .args(["doc", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
}
