//! Reproducible tar and gzip.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// A file in an archive.
pub struct Entry {
    /// Without a leading slash.
    pub path: String,
    pub mode: u32,
    pub bytes: Vec<u8>,
    /// A configuration file, which an administrator may edit.
    pub configuration: bool,
}

impl Entry {
    pub fn new(path: impl Into<String>, mode: u32, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), mode, bytes, configuration: false }
    }
}

/// A tar of files owned by root, with their parent folders, below `prefix`.
pub fn tar(entries: &[Entry], prefix: &str, epoch: u32) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    let mut added = BTreeSet::new();
    let header = |kind: EntryType, mode: u32, size: u64| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(u64::from(epoch));
        header.set_uid(0);
        header.set_gid(0);
        header
    };
    for Entry { path, mode, bytes, .. } in entries {
        let path = Path::new(prefix).join(path);
        let mut folders: Vec<&Path> = path.ancestors().skip(1).collect();
        folders.reverse();
        for folder in folders {
            let has_name = !folder.as_os_str().is_empty() && folder != Path::new(".");
            if has_name && added.insert(folder.to_owned()) {
                let name = format!("{}/", folder.display());
                builder.append_data(&mut header(EntryType::Directory, 0o755, 0), name, &[][..])?;
            }
        }
        let size = u64::try_from(bytes.len())?;
        builder.append_data(&mut header(EntryType::Regular, *mode, size), &path, bytes.as_slice())?;
    }
    Ok(builder.into_inner()?)
}

/// A tar of all files in a folder, recursively.
pub fn folder(folder: &Path, epoch: u32) -> Result<Vec<u8>> {
    let mut entries = Vec::new();
    for path in files(folder)? {
        let name = path.strip_prefix(folder)?.to_str().context("a file name is not UTF-8")?.to_owned();
        entries.push(Entry::new(name, 0o644, fs::read(&path)?));
    }
    tar(&entries, "", epoch)
}

/// All files in a folder, recursively, sorted.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// gzip without a timestamp and a file name, at the level that Debian's policy demands of documents.
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}
