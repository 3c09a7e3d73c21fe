//! Parses the cgroup mounts in `/proc/PID/mountinfo`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

/// A mounted cgroup file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLine {
    /// The mount point.
    pub mount_point: PathBuf,
    /// The file system's device number: major, minor.
    pub device: (u32, u32),
    /// The directory of the hierarchy that is mounted: `/`, unless it is a bind mount of a part, or the
    /// reader is in a cgroup namespace.
    pub root: Vec<u8>,
    /// Whether it is cgroup v2.
    pub unified: bool,
    /// The superblock options, which for v1 contain the controllers and `name=…`.
    pub options: Vec<Vec<u8>>,
}

/// The cgroup mounts in the order of their lines. Lines that cannot be parsed are skipped.
#[must_use]
pub fn parse_mountinfo(text: &[u8]) -> Vec<MountLine> {
    text.split(|byte| *byte == b'\n').filter_map(parse_mount).collect()
}

/// The cgroup mount in a line.
// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//          (root)(point)          (optional)  - (type)(source)(super options)
pub(crate) fn parse_mount(line: &[u8]) -> Option<MountLine> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (major, minor) = std::str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let root = unescape(fields.next()?);
    let mount_point = unescape(fields.next()?);
    fields.find(|field| *field == b"-")?;
    let unified = match fields.next()? {
        b"cgroup" => false,
        b"cgroup2" => true,
        _ => return None,
    };
    let options = fields.nth(1).unwrap_or_default();
    Some(MountLine {
        mount_point: PathBuf::from(OsString::from_vec(mount_point)),
        device,
        root,
        unified,
        options: options.split(|byte| *byte == b',').map(unescape).collect(),
    })
}

/// Undoes the escaping of space, tab, newline and backslash as three octal digits (`mangle` in
/// `fs/proc_namespace.c`).
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let octal = (*byte == b'\\').then(|| after.get(..3).and_then(octal)).flatten();
        match octal {
            Some(value) => {
                plain.push(value);
                rest = &after[3..];
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        value.checked_mul(8)?.checked_add(digit)
    })
}
