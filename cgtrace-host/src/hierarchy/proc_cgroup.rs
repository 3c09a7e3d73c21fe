//! Parses `/proc/PID/cgroup`, which has a line for each visible hierarchy, mounted or not.

/// A path of this length may be truncated: the kernel shows up to `PATH_MAX` bytes, including the NUL.
pub const MAX_SHOWN_PATH: usize = 4_095;

/// A line: a hierarchy, and the cgroup of the process in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyLine {
    /// The hierarchy's id; 0 is the default hierarchy.
    pub id: u32,
    /// Its name: controllers and `name=…`, separated by commas; empty for the default hierarchy.
    pub name: String,
    /// The path of the process's cgroup, relative to the root of the reader's cgroup namespace. Not escaped:
    /// ` (deleted)` may be part of the path, or mean that the cgroup was removed (`proc_cgroup_show` in
    /// kernel/cgroup/cgroup.c).
    pub path: Vec<u8>,
}

/// The lines that can be parsed, in order. A path cannot contain a newline (`cgroup_mkdir` refuses it).
#[must_use]
pub fn parse_proc_cgroup(text: &[u8]) -> Vec<HierarchyLine> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<HierarchyLine> {
    // The path follows the second colon.
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let name = String::from_utf8_lossy(fields.next()?).into_owned();
    Some(HierarchyLine { id, name, path: fields.next()?.to_vec() })
}
