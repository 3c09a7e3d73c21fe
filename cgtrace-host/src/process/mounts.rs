//! Which mounts of a mount table can be reached. Pure.

use crate::hierarchy::unescape;

struct Line<'a> {
    id: &'a [u8],
    parent: &'a [u8],
    point: Vec<u8>,
    text: &'a [u8],
}

/// The lines of a `mountinfo` whose mounts are not covered by others.
pub(super) fn visible(mountinfo: &[u8]) -> Vec<u8> {
    let lines: Vec<Line> = mountinfo.split(|byte| *byte == b'\n').filter_map(parse).collect();
    // The root's parent is no mount of this table.
    let root = lines
        .iter()
        .position(|line| !lines.iter().any(|other| other.id == line.parent && other.id != line.id));
    let Some(root) = root else { return Vec::new() };
    let reached = |line: &&Line| at(&lines, root, &line.point).is_some_and(|found| found.id == line.id);
    let texts: Vec<&[u8]> = lines.iter().filter(reached).map(|line| line.text).collect();
    texts.join(&b'\n')
}

fn parse(text: &[u8]) -> Option<Line<'_>> {
    let mut fields = text.split(|byte| *byte == b' ');
    let (id, parent) = (fields.next()?, fields.next()?);
    Some(Line { id, parent, point: unescape(fields.nth(2)?), text })
}

/// The mount that a path leads to: at each directory on the way, whatever is mounted there on what was reached.
fn at<'a, 'b>(lines: &'a [Line<'b>], root: usize, path: &[u8]) -> Option<&'a Line<'b>> {
    let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    let mut reached = lines.get(root)?;
    for end in [1].into_iter().chain(ends).chain([path.len()]) {
        let directory = path.get(..end)?;
        // Mounts on one directory stack; each is the child of the one below it.
        for _ in 0..lines.len() {
            let on =
                |line: &&Line| line.parent == reached.id && line.id != reached.id && line.point == directory;
            match lines.iter().rfind(on) {
                Some(next) => reached = next,
                None => break,
            }
        }
    }
    Some(reached)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(text: &str) -> Vec<String> {
        let visible = String::from_utf8(visible(text.as_bytes())).unwrap();
        visible.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    const HOST: &str = "\
20 1 8:1 / / rw - ext4 /dev/a rw
25 20 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw
26 25 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
";

    #[test]
    fn what_nothing_covers_is_reached() {
        assert_eq!(ids(HOST), ["20", "25", "26"]);
    }

    #[test]
    fn a_mount_above_covers_what_is_below() {
        assert_eq!(ids(&format!("{HOST}30 25 0:30 / /sys/fs/cgroup rw - tmpfs none rw\n")), ["20", "30"]);
        assert_eq!(ids(&format!("{HOST}30 20 0:30 / /sys rw - tmpfs none rw\n")), ["20", "30"]);
    }

    #[test]
    fn the_last_on_one_directory_is_reached() {
        let text = format!("{HOST}30 26 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        assert_eq!(ids(&text), ["20", "25", "30"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(text in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = visible(&text);
        }

        #[test]
        fn any_table_is_read(rows in prop::collection::vec((0..6_u8, 0..6_u8, "(/[ab]){0,3}"), 0..8)) {
            let lines: Vec<String> =
                rows.iter().map(|(id, parent, point)| format!("{id} {parent} 0:1 / {point} rw - x x rw")).collect();
            let _ = visible(lines.join("\n").as_bytes());
        }
    }
}
