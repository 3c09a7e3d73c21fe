//! `SHA256SUMS`, as sha256sum(1) reads it, and the checksums that dpkg verifies.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::archive::{Entry, files};

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The `md5sums` of a .deb, see deb-md5sums(5). `dpkg --verify` reads them; dpkg itself checks configuration files.
pub fn md5sums(contents: &[Entry]) -> String {
    let installed = contents.iter().filter(|entry| !entry.configuration);
    installed.fold(String::new(), |mut sums, entry| {
        let _ = writeln!(sums, "{}  {}", hex(&Md5::digest(&entry.bytes)), entry.path);
        sums
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
