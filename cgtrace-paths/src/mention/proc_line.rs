//! Lines of `/proc/PID/cgroup` and `/proc/PID/mountinfo`, which say on which hierarchy a cgroup is.

use super::{Mention, Target};
use crate::mounts;

/// The suffix of a removed cgroup's path.
const DELETED: &[u8] = b" (deleted)";

/// The hierarchy and the path of `4:memory:/x`, `0::/x` and `1:name=systemd:/x`, if a text is one such entry.
/// The path is the rest of the text.
pub(super) fn entry(text: &[u8]) -> Option<(String, &[u8])> {
    let mut parts = text.splitn(3, |byte| *byte == b':');
    let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let is_entry = !id.is_empty() && id.iter().all(u8::is_ascii_digit) && path.starts_with(b"/");
    let controllers = crate::ascii(controllers).filter(|_| is_entry)?;
    Some((if controllers.is_empty() { "v2".to_owned() } else { controllers.to_owned() }, path))
}

/// The cgroup of a whole line. Unlike in a longer text, its path may contain spaces.
pub(super) fn mention(line: &[u8]) -> Option<Mention> {
    let line = line.trim_ascii();
    of_cgroup(line).or_else(|| of_mountinfo(line))
}

fn of_cgroup(line: &[u8]) -> Option<Mention> {
    let (hierarchy, path) = entry(line)?;
    // `ps -o cgroup` prints all entries on one line: `4:memory:/x,0::/x`.
    let several = path.split(|byte| *byte == b',').skip(1).any(|part| entry(part).is_some());
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    (!several).then(|| certain(line, path.to_vec(), Some(hierarchy)))
}

/// `36 32 0:33 /docker/ID /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory`: the cgroup is the root of the
/// mount.
fn of_mountinfo(line: &[u8]) -> Option<Mention> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|field| !field.is_empty()).collect();
    let dash = fields.iter().position(|field| *field == b"-").filter(|dash| *dash >= 6)?;
    let hierarchy = match *fields.get(dash + 1)? {
        b"cgroup2" => Some("v2".to_owned()),
        b"cgroup" => of_options(fields.get(dash + 3)?),
        _ => return None,
    };
    let root = unescape_octal(fields.get(3)?);
    root.starts_with(b"/").then(|| certain(line, root, hierarchy))
}

/// The hierarchy in the options of a v1 mount: `memory` of `rw,memory`.
fn of_options(options: &[u8]) -> Option<String> {
    let options = crate::ascii(options)?;
    let parts = options.split(',').filter(|part| mounts::is_controller(part) || part.starts_with("name="));
    let parts: Vec<&str> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

fn certain(line: &[u8], path: Vec<u8>, hierarchy: Option<String>) -> Mention {
    Mention { target: Target::Path(path), text: line.to_vec(), hierarchy, is_certain: true }
}

/// Undoes the escaping of mountinfo: `\040` is a space.
fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| digits.iter().all(|digit| matches!(digit, b'0'..=b'7')));
        let code = digits.filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}
