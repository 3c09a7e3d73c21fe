//! `tree`: draws cgroups as trees.

use std::os::unix::ffi::OsStrExt as _;

use cgtrace_client::{paths, wire};

use super::{
    Outcome,
    arguments::Tree,
    connect::Connector,
    failure::Failure,
    hierarchy::of_options,
    list::print_state,
    output::Output,
    past::Past,
    path,
    stderr::print,
    text,
    text::{Part, row},
    when::When,
};

pub fn run(tree: &Tree, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let call = wire::List {
        patterns: Some(vec![path::to_wire(&tree.path)?]),
        hierarchy: of_options(&tree.hierarchy, &tree.history),
        at: tree.at.time.map(When::to_wire),
    };
    let mut past = Past::open_at(tree.history.folder.as_deref(), tree.at.time, connector)?;
    let reply = past.list(&call)?;
    print_state(&past, call.at.is_some(), &reply);
    let width = output.row_width(tree.wide.given);
    output.result(&past.source().answer(&reply), || draw(&nodes(&reply.cgroups), width))?;
    if !output.json && reply.cgroups.is_empty() {
        let path = paths::escape(tree.path.as_bytes());
        print(match (tree.at.time, &tree.history.folder) {
            (None, None) => format!("cgtrace: `{path}` does not exist; try: cgtrace why {path}"),
            _ => format!("cgtrace: `{path}` did not exist then; try: cgtrace list --removed {path}"),
        });
    }
    Ok(if reply.cgroups.is_empty() { Outcome::No } else { Outcome::Yes })
}

/// A cgroup of the tree.
struct Node {
    path: Vec<u8>,
    hierarchies: Vec<String>,
}

impl Node {
    /// Its depth below the root of the hierarchy.
    fn level(&self) -> usize {
        self.path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).count()
    }
}

/// Each path once, with its hierarchies; parents before children.
fn nodes(cgroups: &[wire::Cgroup]) -> Vec<Node> {
    let node = |cgroups: Vec<&wire::Cgroup>| Node {
        path: cgroups
            .first()
            .map_or_else(Vec::new, |first| text::bytes(first.path.as_deref(), first.path_hex.as_deref())),
        hierarchies: cgroups.iter().map(|cgroup| text::escape(&cgroup.hierarchy)).collect(),
    };
    text::by_path(cgroups).into_iter().map(|(_, cgroups)| node(cgroups)).collect()
}

/// Draws a tree. The hierarchies of a cgroup are named if they are not those of its parent.
fn draw(nodes: &[Node], width: Option<usize>) -> Vec<String> {
    let top = nodes.first().map_or(0, Node::level);
    let last = last_siblings(nodes);
    // For each level: whether another sibling follows, and the hierarchies of the last cgroup.
    let mut open: Vec<bool> = Vec::new();
    let mut parents: Vec<&[String]> = Vec::new();
    let mut lines = Vec::new();
    for (node, is_last) in nodes.iter().zip(last) {
        let depth = node.level().saturating_sub(top);
        let mut indent = String::new();
        let mut parts = Vec::new();
        if let Some(above) = depth.checked_sub(1) {
            open.resize(above, false);
            indent = open.iter().map(|open| if *open { "│  " } else { "   " }).collect();
            indent.push_str(if is_last { "└─ " } else { "├─ " });
            open.push(!is_last);
            let leaf = node.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            parts.push(Part::Path("", paths::escape(leaf)));
        } else {
            open.clear();
            parts.push(Part::Path("", paths::escape(&node.path)));
        }
        parents.truncate(depth);
        if parents.last().is_none_or(|parent| *parent != node.hierarchies) {
            parts.push(Part::Names(node.hierarchies.clone()));
        }
        parents.resize(depth, &[]);
        parents.push(&node.hierarchies);
        let left = width.map(|width| width.saturating_sub(indent.chars().count()));
        lines.push(indent + &row(parts, left));
    }
    lines
}

/// For each cgroup, whether it is the last of its siblings.
fn last_siblings(nodes: &[Node]) -> Vec<bool> {
    let mut last = vec![true; nodes.len()];
    // Scanning backwards: whether a sibling at this level was seen since the last shallower cgroup.
    let mut seen: Vec<bool> = Vec::new();
    for (number, node) in nodes.iter().enumerate().rev() {
        let level = node.level();
        seen.resize(level + 1, false);
        last[number] = !seen[level];
        seen[level] = true;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(cgroups: &[(&str, &str)], width: Option<usize>) -> Vec<String> {
        let cgroup = |&(hierarchy, path): &(&str, &str)| wire::Cgroup {
            hierarchy: hierarchy.to_owned(),
            path: Some(path.to_owned()),
            ..wire::Cgroup::default()
        };
        draw(&nodes(&cgroups.iter().map(cgroup).collect::<Vec<_>>()), width)
    }

    #[test]
    fn branches_end_at_the_last_sibling() {
        let of_v2 = ["/", "/a", "/a/b", "/a/b/c", "/a/\u{1b}d", "/e"].map(|path| ("v2", path));
        let drawn = drawn(&of_v2, None);
        assert_eq!(drawn, ["/  v2", "├─ a", "│  ├─ \\x1bd", "│  └─ b", "│     └─ c", "└─ e"]);
    }

    #[test]
    fn hierarchies_share_a_tree() {
        let all = [("v2", "/"), ("v2", "/a"), ("v2", "/a/b"), ("pids", "/"), ("pids", "/a"), ("pids", "/c")];
        let expected = ["/  v2 pids", "├─ a", "│  └─ b  v2", "└─ c  pids"];
        assert_eq!(drawn(&all, Some(80)), expected);
    }

    #[test]
    fn a_subtree_is_not_indented() {
        assert_eq!(drawn(&[("v2", "/a/b"), ("v2", "/a/b/c")], None), ["/a/b  v2", "└─ c"]);
    }

    #[test]
    fn a_long_name_is_shortened() {
        let path = format!("/a/{}", "x".repeat(90));
        let drawn = drawn(&[("v2", "/a"), ("v2", &path)], Some(80));
        assert_eq!(drawn[1].chars().count(), 80);
    }
}
