//! Real output for the documents: a test keeps it in `target/lab/captured/`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Keeps a text.
pub fn keep(name: &str, text: &str) -> Result<()> {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.parent().context("the target folder has no parent")?.join("lab/captured");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.txt"));
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}
