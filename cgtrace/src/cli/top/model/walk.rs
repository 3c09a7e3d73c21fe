//! The rows of a tree, one step at a time.

use std::{collections::BTreeSet, ops::Bound};

use super::{
    node::{Children, Position},
    tree::Tree,
};

impl Tree {
    /// The rows among children.
    fn rows<'a>(&self, children: &'a Children) -> &'a BTreeSet<Position> {
        if self.filtered { &children.selected } else { &children.all }
    }

    fn siblings(&self, parent: Option<u64>) -> Option<&BTreeSet<Position>> {
        match parent {
            Some(parent) => self.nodes.get(&parent).map(|node| self.rows(&node.children)),
            None => Some(self.rows(&self.top)),
        }
    }

    /// Whether a row has rows below it, also while it is folded.
    pub fn has_children(&self, id: u64) -> bool {
        self.siblings(Some(id)).is_some_and(|children| !children.is_empty())
    }

    pub fn first(&self) -> Option<u64> {
        self.rows(&self.top).first().map(|(_, _, id)| *id)
    }

    pub fn last(&self) -> Option<u64> {
        let (_, _, id) = self.rows(&self.top).last()?;
        Some(self.last_below(*id))
    }

    fn last_below(&self, mut id: u64) -> u64 {
        while let Some(node) = self.nodes.get(&id).filter(|node| !node.folded)
            && let Some((_, _, last)) = self.rows(&node.children).last()
        {
            id = *last;
        }
        id
    }

    /// The row below.
    pub fn next(&self, id: u64) -> Option<u64> {
        let mut node = self.nodes.get(&id)?;
        if let Some((_, _, child)) = self.rows(&node.children).first().filter(|_| !node.folded) {
            return Some(*child);
        }
        let mut id = id;
        loop {
            let after = (Bound::Excluded(node.position(id)), Bound::Unbounded);
            if let Some((_, _, sibling)) = self.siblings(node.parent)?.range(after).next() {
                return Some(*sibling);
            }
            id = node.parent?;
            node = self.nodes.get(&id)?;
        }
    }

    /// The row above.
    pub fn previous(&self, id: u64) -> Option<u64> {
        let node = self.nodes.get(&id)?;
        match self.siblings(node.parent)?.range(..node.position(id)).next_back() {
            Some((_, _, sibling)) => Some(self.last_below(*sibling)),
            None => node.parent,
        }
    }

    /// Whether a cgroup has a row: the filter shows it, and no ancestor is folded.
    pub fn is_row(&self, id: u64) -> bool {
        let Some(node) = self.nodes.get(&id) else { return false };
        if !self.siblings(node.parent).is_some_and(|siblings| siblings.contains(&node.position(id))) {
            return false;
        }
        let mut next = node.parent;
        while let Some(node) = next.and_then(|id| self.nodes.get(&id)) {
            if node.folded {
                return false;
            }
            next = node.parent;
        }
        true
    }

    /// How many ancestors of a row are in the tree.
    pub fn depth(&self, id: u64) -> usize {
        let mut depth = 0;
        let mut next = self.nodes.get(&id).and_then(|node| node.parent);
        while let Some(node) = next.and_then(|id| self.nodes.get(&id)) {
            depth += 1;
            next = node.parent;
        }
        depth
    }
}
