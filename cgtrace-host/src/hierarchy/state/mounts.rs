//! Mounts on the directories of cgroups, which keep these from being removed.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
};

use crate::hierarchy::unescape;

/// The most bytes of `mountinfo` that are read.
const MAX_MOUNTINFO: u64 = 4 << 20;
/// How many mount points are returned.
const MAX_MOUNTS: usize = 16;

/// The first 16 mount points at or below a directory, in this process's mount namespace.
pub fn mounts_at(directory: &[u8]) -> io::Result<Vec<PathBuf>> {
    let mut text = Vec::new();
    File::open("/proc/self/mountinfo")?.take(MAX_MOUNTINFO).read_to_end(&mut text)?;
    let points = text.split(|byte| *byte == b'\n').filter_map(|line| {
        let point = unescape(line.split(|byte| *byte == b' ').nth(4)?);
        let rest = point.strip_prefix(directory)?;
        (rest.is_empty() || rest.starts_with(b"/")).then_some(point)
    });
    Ok(points.take(MAX_MOUNTS).map(|point| PathBuf::from(std::ffi::OsString::from_vec(point))).collect())
}
