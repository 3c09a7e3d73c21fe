//! Finds the mounts of a mount table that can be reached, in linear time.

use std::collections::HashMap;

use crate::hierarchy::unescape;

struct Line<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    point: Vec<u8>,
    text: &'a [u8],
}

/// A directory, by its number in the tree of mount points; 0 is the root.
type NodeId = usize;

/// The mounts, by their line numbers.
#[derive(Default)]
struct MountTable {
    /// The last mount on a directory of another mount.
    on: HashMap<(usize, NodeId), usize>,
    /// The topmost mount of the stack on a directory, where already known.
    top: HashMap<(usize, NodeId), usize>,
}

/// The lines of a `mountinfo` whose mounts are not covered by other mounts.
pub(super) fn visible<'a>(mountinfo: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let lines: Vec<Line> = mountinfo.iter().copied().filter_map(parse).collect();
    let numbers: HashMap<&[u8], usize> = lines.iter().enumerate().map(|(at, line)| (line.id, at)).collect();
    let parent = |line: &Line| numbers.get(line.parent).copied().filter(|_| line.parent != line.id);
    // The parent of the root mount is not in this table.
    let Some(root) = lines.iter().position(|line| parent(line).is_none()) else { return Vec::new() };
    let mut names: HashMap<(NodeId, &[u8]), NodeId> = HashMap::new();
    let routes: Vec<Vec<NodeId>> = lines.iter().map(|line| route(&line.point, &mut names)).collect();
    let mut table = MountTable::default();
    for (at, (line, route)) in lines.iter().zip(&routes).enumerate() {
        if let (Some(parent), Some(node)) = (parent(line), route.last()) {
            table.on.insert((parent, *node), at);
        }
    }
    let all = lines.iter().zip(&routes).enumerate();
    let reached = all.filter(|(at, (_, route))| table.at(root, route) == *at);
    reached.map(|(_, (line, _))| line.text).collect()
}

fn parse(text: &[u8]) -> Option<Line<'_>> {
    let mut fields = text.split(|byte| *byte == b' ');
    let (id, parent) = (fields.next()?, fields.next()?);
    Some(Line { id, parent, point: unescape(fields.nth(2)?), text })
}

/// The directories from the root to a mount point, inclusive.
fn route<'a>(point: &'a [u8], names: &mut HashMap<(NodeId, &'a [u8]), NodeId>) -> Vec<NodeId> {
    let mut route = vec![0];
    for name in point.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let next = names.len() + 1;
        route.push(*names.entry((route.last().copied().unwrap_or_default(), name)).or_insert(next));
    }
    route
}

impl MountTable {
    /// The mount that a path resolves to, crossing the mounts on each of its directories.
    fn at(&mut self, root: usize, route: &[NodeId]) -> usize {
        route.iter().fold(root, |reached, node| self.topmost(reached, *node))
    }

    /// The topmost mount on a directory: mounts stack, each as the child of the one below it.
    fn topmost(&mut self, below: usize, node: NodeId) -> usize {
        let (mut at, mut passed) = (below, Vec::new());
        while let Some(next) = self.on.get(&(at, node)) {
            if let Some(top) = self.top.get(&(at, node)) {
                at = *top;
                break;
            }
            // Invalid tables may contain cycles.
            if passed.len() > self.on.len() {
                break;
            }
            passed.push(at);
            at = *next;
        }
        for below in passed {
            self.top.insert((below, node), at);
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(text: &str) -> Vec<String> {
        let lines: Vec<&[u8]> = text.as_bytes().split(|byte| *byte == b'\n').collect();
        let id = |line: &[u8]| line.split(|byte| *byte == b' ').next().map(<[u8]>::to_vec);
        visible(&lines).into_iter().filter_map(id).map(|id| String::from_utf8(id).unwrap()).collect()
    }

    const HOST: &str = "\
20 1 8:1 / / rw - ext4 /dev/a rw
25 20 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    #[test]
    fn uncovered_mounts_are_visible() {
        assert_eq!(ids(HOST), ["20", "25", "26"]);
    }

    #[test]
    fn a_mount_on_an_ancestor_covers_descendants() {
        assert_eq!(ids(&format!("{HOST}30 25 0:30 / /sys/fs/cgroup rw - tmpfs none rw\n")), ["20", "30"]);
        assert_eq!(ids(&format!("{HOST}30 20 0:30 / /sys rw - tmpfs none rw\n")), ["20", "30"]);
    }

    #[test]
    fn the_last_mount_on_a_directory_is_visible() {
        let text = format!("{HOST}30 26 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        assert_eq!(ids(&text), ["20", "25", "30"]);
    }

    /// A quadratic reference implementation, for tables with unique ids.
    fn visible_reference<'a>(mountinfo: &[&'a [u8]]) -> Vec<&'a [u8]> {
        let lines: Vec<Line> = mountinfo.iter().copied().filter_map(parse).collect();
        let is_root =
            |line: &&Line| line.parent == line.id || !lines.iter().any(|other| other.id == line.parent);
        let Some(root) = lines.iter().find(is_root) else { return Vec::new() };
        let reached = |point: &[u8]| {
            let mut reached = root;
            for end in (1..=point.len()).filter(|end| *end == 1 || *end == point.len() || point[*end] == b'/')
            {
                for _ in 0..=lines.len() {
                    let on = |line: &&Line| {
                        line.parent == reached.id && line.parent != line.id && line.point == point[..end]
                    };
                    reached = lines.iter().rfind(on).unwrap_or(reached);
                }
            }
            reached
        };
        lines.iter().filter(|line| reached(&line.point).id == line.id).map(|line| line.text).collect()
    }

    #[test]
    fn many_stacked_mounts_take_linear_time() {
        let line =
            |id: usize, parent: usize, point: &str| format!("{id} {parent} 0:1 / {point} rw - cgroup2 x rw");
        let stacked = (1..50_000).map(|id| line(id, id - 1, "/a/b")).collect::<Vec<_>>();
        let deep = (50_000..60_000).map(|id| line(id, 49_999, &format!("/a/b/{id}{}", "/c".repeat(500))));
        let all: Vec<String> = [line(0, 0, "/")].into_iter().chain(stacked).chain(deep).collect();
        let all: Vec<&[u8]> = all.iter().map(String::as_bytes).collect();
        // The root, the topmost of the stack, and the mounts on that.
        let visible = visible(&all);
        assert!(visible[0].starts_with(b"0 0 ") && visible.len() == 10_002);
    }

    proptest! {
        #[test]
        fn any_bytes_are_accepted(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = visible(&text.split(|byte| *byte == b'\n').collect::<Vec<_>>());
        }

        #[test]
        fn any_table_matches_the_reference(rows in prop::collection::vec((0..8_usize, "/|(/[ab]){1,3}"), 0..8)) {
            let line = |(id, (parent, point)): (usize, &(usize, String))| format!("{id} {parent} 0:1 / {point} rw - x x rw");
            let lines: Vec<String> = rows.iter().enumerate().map(line).collect();
            let all: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
            prop_assert_eq!(visible(&all), visible_reference(&all));
        }
    }
}
