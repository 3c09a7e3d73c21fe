//! `/proc/PID/cgroup`: one line for each hierarchy that is visible, mounted or not. Pure.

/// A path of that many bytes may be cut: the kernel shows `PATH_MAX`, without the NUL.
pub const MAX_SHOWN_PATH: usize = 4_095;

/// One line: a hierarchy, and a process's cgroup in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyLine {
    /// The hierarchy's id; 0 is the default one.
    pub id: u32,
    /// Its name as written: controllers and `name=…`, separated by commas; empty for the default hierarchy.
    pub name: String,
    /// The process's cgroup, from the root of the reader's cgroup namespace. Unescaped: ` (deleted)` may be
    /// part of the name, or say that the cgroup was removed (`proc_cgroup_show` in kernel/cgroup/cgroup.c).
    pub path: Vec<u8>,
}

/// The lines that are understood, in their order. A path with a newline in it is not possible
/// (`cgroup_mkdir` refuses one).
#[must_use]
pub fn parse_proc_cgroup(text: &[u8]) -> Vec<HierarchyLine> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<HierarchyLine> {
    // A hierarchy's name may hold a colon only if it was mounted so; the path is what follows the second one.
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let name = String::from_utf8_lossy(fields.next()?).into_owned();
    Some(HierarchyLine { id, name, path: fields.next()?.to_vec() })
}
