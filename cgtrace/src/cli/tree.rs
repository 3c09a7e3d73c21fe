//! `tree`: what exists now, drawn.

use std::os::unix::ffi::OsStrExt as _;

use cgtrace_client::{paths, wire};

use super::{
    Verdict, arguments::Tree, connect::Connector, failure::Failure, name, output::Output, stderr::print, text,
};

pub fn run(tree: &Tree, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let call =
        wire::List { patterns: Some(vec![name::to_wire(&tree.name)?]), hierarchy: tree.on.hierarchy.clone() };
    let mut client = connector.connect()?.client;
    let mut listed = client.list(&call)?;
    let cgroups = listed.by_ref().collect::<Result<Vec<_>, _>>()?;
    let reply = wire::ListReply { seq: listed.seq(), cgroups };
    output.answer(&reply, || {
        let hierarchies = reply.cgroups.chunk_by(|a, b| a.hierarchy_id == b.hierarchy_id).map(draw);
        hierarchies.collect::<Vec<_>>().join(&String::new())
    })?;
    if !output.json && reply.cgroups.is_empty() {
        let name = paths::escape(tree.name.as_bytes());
        print(format!("cgtrace: `{name}` does not exist; cgtrace why {name} says why"));
    }
    Ok(Verdict::Yes)
}

/// One hierarchy's cgroups, each after its parent, as lines.
fn draw(cgroups: &[wire::Cgroup]) -> Vec<String> {
    let last = last_siblings(cgroups);
    // For each level above the present one: whether a further sibling comes there.
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

/// For each cgroup, whether no sibling of it follows.
fn last_siblings(cgroups: &[wire::Cgroup]) -> Vec<bool> {
    let mut last = vec![true; cgroups.len()];
    // From the end: whether a sibling at this level was seen since the last shallower one.
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
    fn branches_end_where_the_last_sibling_stands() {
        let drawn = drawn(&[(0, "/"), (1, "/a"), (2, "/a/b"), (3, "/a/b/c"), (2, "/a/\u{1b}d"), (1, "/e")]);
        assert_eq!(drawn[1..], ["├─ a", "│  ├─ b", "│  │  └─ c", "│  └─ \\x1bd", "└─ e"]);
    }

    #[test]
    fn a_subtree_begins_at_the_left() {
        let drawn = drawn(&[(2, "/a/b"), (3, "/a/b/c")]);
        assert!(drawn[0].ends_with("/a/b"));
        assert_eq!(drawn[1], "└─ c");
    }
}
