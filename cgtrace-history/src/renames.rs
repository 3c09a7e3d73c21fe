//! The paths of cgroups after renames. A rename gives the renamed cgroup a row with its new path; the rows of
//! its descendants keep their old ones. The renames are therefore replayed, in the order of the events.

use std::{hash::BuildHasher as _, iter};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::segment::dictionary::split;

/// A rename.
#[derive(Debug)]
pub(crate) struct Rename {
    /// The number of the event.
    pub seq: i64,
    pub hierarchy: i64,
    /// The row that it ended,
    pub source: i64,
    /// whose path is as of that number: an ancestor may have been renamed since.
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

/// A row of the table `cgroup`, whose path is as of its number.
#[derive(Debug)]
pub(crate) struct Named<'p> {
    pub no: i64,
    pub hierarchy: i64,
    pub path: &'p [u8],
}

/// The paths that rows have after all renames. Both are ordered by their numbers.
pub(crate) fn replay<'p>(rows: impl Iterator<Item = Named<'p>>, renames: &[Rename]) -> Vec<Vec<u8>> {
    let mut replay = Replay::new(renames);
    let nodes: Vec<usize> = rows
        .map(|row| {
            replay.advance(row.no);
            replay.tree.place(row.hierarchy, row.path)
        })
        .collect();
    replay.advance(i64::MAX);
    nodes.into_iter().map(|node| replay.tree.path(node)).collect()
}

/// The names at one moment.
struct Replay<'r> {
    tree: Tree,
    /// Those that are still to be replayed.
    renames: &'r [Rename],
    /// The same, by the rows that they end: what is renamed is found by its row, not by its path.
    sources: iter::Peekable<std::vec::IntoIter<&'r Rename>>,
    /// The nodes of the rows that a rename ends.
    placed: HashMap<i64, usize>,
}

impl<'r> Replay<'r> {
    fn new(renames: &'r [Rename]) -> Self {
        let mut sources: Vec<&Rename> = renames.iter().collect();
        sources.sort_by_key(|rename| rename.source);
        Self {
            tree: Tree::default(),
            renames,
            sources: sources.into_iter().peekable(),
            placed: HashMap::new(),
        }
    }

    /// Replays what comes before the row with this number, including a rename with the same one.
    fn advance(&mut self, until: i64) {
        loop {
            let next_source = self.sources.peek().map(|rename| rename.source);
            if let Some((rename, later)) = self.renames.split_first()
                && rename.seq <= until
                && next_source.is_none_or(|source| rename.seq <= source)
            {
                self.renames = later;
                if let Some(node) = self.placed.remove(&rename.source) {
                    self.tree.rename(node, rename.hierarchy, &rename.to);
                }
            } else if let Some(rename) = self.sources.next_if(|rename| rename.source <= until) {
                let node = self.tree.place(rename.hierarchy, &rename.from);
                self.placed.insert(rename.source, node);
            } else {
                return;
            }
        }
    }
}

/// The names of all hierarchies.
#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    /// The nodes by parent and name: a name belongs to the node that got it last.
    names: HashTable<usize>,
    roots: HashMap<i64, usize>,
    hasher: DefaultHashBuilder,
}

struct Node {
    /// A root is its own parent.
    parent: usize,
    name: Box<[u8]>,
}

impl Tree {
    /// The node that a path names now; it is created if there is none.
    fn place(&mut self, hierarchy: i64, path: &[u8]) -> usize {
        let mut at = self.root(hierarchy);
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            at = match self.child(at, name) {
                Some(child) => child,
                None => self.insert(at, name),
            };
        }
        at
    }

    /// Moves a node, with what is below it. A node that had the name before keeps its own path.
    fn rename(&mut self, node: usize, hierarchy: i64, to: &[u8]) {
        let (directory, name) = split(to);
        if name.is_empty() || self.nodes[node].parent == node {
            return;
        }
        // First, so that the new parent cannot be below it.
        self.release_name(node);
        let parent = self.place(hierarchy, directory);
        if let Some(other) = self.child(parent, name) {
            self.release_name(other);
        }
        self.nodes[node] = Node { parent, name: name.into() };
        self.claim_name(node);
    }

    fn path(&self, node: usize) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = node;
        while self.nodes[at].parent != at {
            names.push(&*self.nodes[at].name);
            at = self.nodes[at].parent;
        }
        if names.is_empty() {
            return b"/".to_vec();
        }
        names.iter().rev().flat_map(|name| [b"/", *name]).collect::<Vec<&[u8]>>().concat()
    }

    fn root(&mut self, hierarchy: i64) -> usize {
        let nodes = &mut self.nodes;
        *self.roots.entry(hierarchy).or_insert_with(|| {
            let root = nodes.len();
            nodes.push(Node { parent: root, name: Box::default() });
            root
        })
    }

    fn child(&self, parent: usize, name: &[u8]) -> Option<usize> {
        let same = |node: &usize| self.nodes[*node].parent == parent && *self.nodes[*node].name == *name;
        self.names.find(self.hasher.hash_one((parent, name)), same).copied()
    }

    fn insert(&mut self, parent: usize, name: &[u8]) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node { parent, name: name.into() });
        self.claim_name(node);
        node
    }

    /// Makes a node's name resolve to it. No other node has the name.
    fn claim_name(&mut self, node: usize) {
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash = |node: &usize| hasher.hash_one((nodes[*node].parent, &*nodes[*node].name));
        self.names.insert_unique(hash(&node), node, hash);
    }

    /// Makes a node's name resolve to nothing, if it resolves to the node.
    fn release_name(&mut self, node: usize) {
        let Node { parent, name } = &self.nodes[node];
        let hash = self.hasher.hash_one((parent, &**name));
        if let Ok(entry) = self.names.find_entry(hash, |other| *other == node) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn rename(seq: i64, source: i64, from: &str, to: &str) -> Rename {
        Rename { seq, hierarchy: 1, source, from: from.into(), to: to.into() }
    }

    /// The paths after the renames.
    fn paths(rows: &[(i64, &str)], renames: &[Rename]) -> Vec<String> {
        let rows = rows.iter().map(|(no, path)| Named { no: *no, hierarchy: 1, path: path.as_bytes() });
        replay(rows, renames).into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn a_rename_moves_what_is_below() {
        let rows = [(-4, "/"), (-3, "/a/b"), (-2, "/ab"), (-1, "/a/b/c"), (5, "/z"), (6, "/z/d")];
        let renames = [rename(5, -9, "/a", "/z")];
        assert_eq!(paths(&rows, &renames), ["/", "/z/b", "/ab", "/z/b/c", "/z", "/z/d"]);
    }

    #[test]
    fn renames_at_several_depths_are_combined() {
        // The rows of b and c have the paths from before a was renamed.
        let renames = [
            rename(5, -3, "/a", "/x"),
            rename(6, -2, "/a/b", "/x/y"),
            rename(7, -1, "/a/b/c", "/x/y/z"),
            rename(8, 5, "/x", "/w"),
        ];
        let rows = [(4, "/a/b/c/d"), (6, "/x/y"), (7, "/x/y/z"), (8, "/w")];
        assert_eq!(paths(&rows, &renames), ["/w/y/z/d", "/w/y", "/w/y/z", "/w"]);
    }

    #[test]
    fn two_directories_swap_their_names() {
        let renames = [rename(5, 1, "/a", "/t"), rename(6, 2, "/b", "/a"), rename(7, 5, "/t", "/b")];
        let rows = [(3, "/a/of-a"), (4, "/b/of-b"), (6, "/a"), (7, "/b"), (8, "/a/late")];
        assert_eq!(paths(&rows, &renames), ["/b/of-a", "/a/of-b", "/a", "/b", "/a/late"]);
    }

    #[test]
    fn a_name_is_used_again() {
        let renames = [rename(4, 1, "/o", "/n"), rename(6, 2, "/p", "/o")];
        // Created before both renames, and named again by an event after them.
        let rows = [(3, "/o/x"), (4, "/n"), (5, "/p/z"), (6, "/o"), (7, "/o/y")];
        assert_eq!(paths(&rows, &renames), ["/n/x", "/n", "/o/z", "/o", "/o/y"]);
    }

    #[test]
    fn what_had_the_new_name_keeps_its_path() {
        let rows = [(1, "/a/x"), (2, "/b/y"), (3, "/b"), (4, "/b/z")];
        assert_eq!(paths(&rows, &[rename(3, -1, "/a", "/b")]), ["/b/x", "/b/y", "/b", "/b/z"]);
        // It is no longer found by that name, but by its row.
        let renames = [rename(3, -1, "/a", "/b"), rename(5, -2, "/b", "/c")];
        assert_eq!(paths(&rows, &renames), ["/b/x", "/c/y", "/b", "/b/z"]);
    }

    #[test]
    fn hierarchies_are_apart() {
        let rows = [(1, 1), (2, 2)].map(|(no, hierarchy)| Named { no, hierarchy, path: b"/a/b" });
        let found = replay(rows.into_iter(), &[rename(3, -1, "/a", "/z")]);
        assert_eq!(found, [b"/z/b", b"/a/b"]);
    }

    #[test]
    fn impossible_renames_do_no_harm() {
        let rows = [(1, "/a/b")];
        assert_eq!(paths(&rows, &[rename(3, -1, "/", "/z")]), ["/a/b"]);
        assert_eq!(paths(&rows, &[rename(3, -1, "/a", "/")]), ["/a/b"]);
        assert_eq!(paths(&rows, &[rename(3, 4, "/a", "/z")]), ["/a/b"]);
        // Below itself.
        assert_eq!(paths(&rows, &[rename(3, -1, "/a", "/a/b/c")]), ["/a/b/c/b"]);
    }

    #[test]
    fn many_renames_of_many_cgroups_take_little_time() {
        let began = Instant::now();
        let children: Vec<String> = (0..20_000).map(|child| format!("/d0/{child}")).collect();
        let rows: Vec<_> = (-20_000..).zip(children.iter().map(String::as_str)).collect();
        let names: Vec<String> = (0..=20_000).map(|name| format!("/d{name}")).collect();
        let renames: Vec<_> = (0..)
            .zip(names.windows(2))
            .map(|(no, names)| rename(no + 1, if no == 0 { -20_001 } else { no }, &names[0], &names[1]))
            .collect();
        let found = paths(&rows, &renames);
        assert_eq!((&*found[0], &*found[19_999]), ("/d20000/0", "/d20000/19999"));
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
