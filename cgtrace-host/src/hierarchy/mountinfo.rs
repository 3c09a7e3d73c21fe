//! `/proc/PID/mountinfo`: where cgroup file systems are mounted. Pure.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

/// One mounted cgroup file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountLine {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The file system's device number: major, minor.
    pub device: (u32, u32),
    /// Which directory of the hierarchy that is: `/`, unless a part of it was bind-mounted, or a cgroup
    /// namespace shows it another way.
    pub root: Vec<u8>,
    /// cgroup v2.
    pub unified: bool,
    /// The super options of a v1 mount that may name its hierarchy: controllers and `name=…`.
    pub options: Vec<Vec<u8>>,
}

/// The cgroup mounts among the lines, in their order. A line that is not understood is passed over.
#[must_use]
pub fn parse_mountinfo(text: &[u8]) -> Vec<MountLine> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//          (root)(point)          (optional)  - (type)(source)(super options)
fn parse_line(line: &[u8]) -> Option<MountLine> {
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

/// Space, tab, newline and backslash are written as three octal digits (`mangle` in `fs/proc_namespace.c`).
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HYBRID: &[u8] = b"\
25 1 0:23 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
26 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
27 25 0:25 / /sys/fs/cgroup/systemd rw,relatime shared:9 master:2 - cgroup cgroup rw,xattr,name=systemd
28 25 0:26 /../.. /mnt/with\\040space rw - cgroup2 cgroup2 rw,nsdelegate
29 1 0:27 / /home rw - ext4 /dev/vda rw
";

    #[test]
    fn cgroup_mounts_are_found_with_their_names() {
        let lines = parse_mountinfo(HYBRID);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].mount_point, PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
        assert!(lines[0].options.contains(&b"cpuacct".to_vec()));
        assert!(lines[1].options.contains(&b"name=systemd".to_vec()));
        assert_eq!(lines[2].mount_point, PathBuf::from("/mnt/with space"));
        assert_eq!(lines[2].root, b"/../..");
        assert!(lines[2].unified);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_mountinfo(&text);
        }

        #[test]
        fn escaping_is_undone(name in "[ -~\\t]{0,40}") {
            let escaped: Vec<u8> = name.bytes().flat_map(|byte| match byte {
                b' ' | b'\t' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                other => vec![other],
            }).collect();
            prop_assert_eq!(unescape(&escaped), name.into_bytes());
        }
    }
}
