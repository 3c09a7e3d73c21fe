//! `tree`: draws cgroups as trees.

use std::os::unix::ffi::OsStrExt as _;

use cgtrace_client::{paths, wire};

use super::{
    Outcome, arguments::Tree, connect::Connector, failure::Failure, list::print_state, output::Output,
    past::Past, path, stderr::print, text, when::When,
};

pub fn run(tree: &Tree, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let call = wire::List {
        patterns: Some(vec![path::to_wire(&tree.path)?]),
        hierarchy: tree.hierarchy.name.clone(),
        at: tree.at.time.map(When::to_wire),
    };
    let mut past = Past::open_at(tree.history.folder.as_deref(), tree.at.time, connector)?;
    let reply = past.list(&call)?;
    print_state(&past, call.at.is_some(), &reply);
    output.result(&past.source().answer(&reply), || {
        let hierarchies = reply.cgroups.chunk_by(|a, b| a.hierarchy_id == b.hierarchy_id).map(draw);
        hierarchies.collect::<Vec<_>>().join(&String::new())
    })?;
    if !output.json && reply.cgroups.is_empty() {
        let path = paths::escape(tree.path.as_bytes());
        print(match (tree.at.time, &tree.history.folder) {
            (None, None) => format!("cgtrace: `{path}` does not exist; try: cgtrace why {path}"),
            _ => format!("cgtrace: `{path}` did not exist then; try: cgtrace list --removed {path}"),
        });
    }
    Ok(if reply.cgroups.is_empty() { Outcome::No } else { Outcome::Yes })
}

/// Draws one hierarchy's cgroups, which are sorted so that each follows its parent.
fn draw(cgroups: &[wire::Cgroup]) -> Vec<String> {
    let last = last_siblings(cgroups);
    // For each level above the current one: whether another sibling follows.
    let mut open: Vec<bool> = Vec::new();
    let top = cgroups.first().map_or(0, |cgroup| cgroup.level);
    cgroups
        .iter()
        .zip(last)
        .map(|(cgroup, last)| {
            let path = text::bytes(cgroup.path.as_deref(), cgroup.path_hex.as_deref());
            let depth = cgroup.level.saturating_sub(top) as usize;
            if depth == 0 {
                open.clear();
                return format!("{}  {}", text::hierarchy(&cgroup.hierarchy), paths::escape(&path));
            }
            open.resize(depth - 1, false);
            let mut line: String = open.iter().map(|open| if *open { "│  " } else { "   " }).collect();
            line.push_str(if last { "└─ " } else { "├─ " });
            open.push(!last);
            let leaf = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            line.push_str(&paths::escape(leaf));
            line
        })
        .collect()
}

/// For each cgroup, whether it is the last of its siblings.
fn last_siblings(cgroups: &[wire::Cgroup]) -> Vec<bool> {
    let mut last = vec![true; cgroups.len()];
    // Scanning backwards: whether a sibling at this level was seen since the last shallower cgroup.
    let mut seen: Vec<bool> = Vec::new();
    for (number, cgroup) in cgroups.iter().enumerate().rev() {
        let level = cgroup.level as usize;
        seen.resize(level + 1, false);
        last[number] = !seen[level];
        seen[level] = true;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(cgroups: &[(u32, &str)]) -> Vec<String> {
        let cgroup = |&(level, path): &(u32, &str)| wire::Cgroup {
            level,
            path: Some(path.to_owned()),
            ..wire::Cgroup::default()
        };
        draw(&cgroups.iter().map(cgroup).collect::<Vec<_>>())
    }

    #[test]
    fn branches_end_at_the_last_sibling() {
        let drawn = drawn(&[(0, "/"), (1, "/a"), (2, "/a/b"), (3, "/a/b/c"), (2, "/a/\u{1b}d"), (1, "/e")]);
        assert_eq!(drawn[1..], ["├─ a", "│  ├─ b", "│  │  └─ c", "│  └─ \\x1bd", "└─ e"]);
    }

    #[test]
    fn a_subtree_is_not_indented() {
        let drawn = drawn(&[(2, "/a/b"), (3, "/a/b/c")]);
        assert!(drawn[0].ends_with("/a/b"));
        assert_eq!(drawn[1], "└─ c");
    }
}
