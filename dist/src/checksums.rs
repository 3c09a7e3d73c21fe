//! `SHA256SUMS`, as sha256sum(1) reads it.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use crate::archive::files;

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// Writes the checksums of all files in the folder, recursively.
pub fn write(folder: &Path) -> Result<()> {
    let mut sums = String::new();
    for file in files(folder)? {
        let _ = writeln!(sums, "{}  {}", sha256(&fs::read(&file)?), file.strip_prefix(folder)?.display());
    }
    Ok(fs::write(folder.join("SHA256SUMS"), sums)?)
}
