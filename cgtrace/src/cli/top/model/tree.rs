//! The cgroups of one hierarchy: those that exist, and those that were removed a moment ago.
//!
//! A change takes O(depth · log siblings). No operation but a new order, a new filter, a snapshot and a rename
//! (v1 only) visits all of them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    filter::Filter,
    node::{Children, MARKED_NS, Node, Totals},
    order::Order,
};

/// How many removed cgroups are shown at most. Beyond that the oldest disappear early.
const MAX_REMOVED: usize = 1_000;

#[derive(Debug, Default)]
pub struct Tree {
    /// The hierarchy's name, escaped.
    pub name: String,
    pub(super) nodes: HashMap<u64, Node>,
    /// The cgroups that exist.
    pub(super) by_path: HashMap<Arc<[u8]>, u64>,
    /// Those without an ancestor in the tree.
    pub(super) top: Children,
    /// When removed cgroups disappear, the first first.
    pub(super) expiring: VecDeque<(u64, u64)>,
    /// Cgroups with recent events.
    pub(super) active: Vec<u64>,
    pub(super) order: Order,
    /// Whether rows are filtered.
    pub(super) filtered: bool,
}

impl Tree {
    pub fn get(&self, id: u64) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// The ids, in no particular order.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.nodes.keys().copied()
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn order(&self) -> Order {
        self.order
    }

    /// How many cgroups exist.
    pub fn present(&self) -> usize {
        self.nodes.len() - self.expiring.len()
    }

    /// How many of the cgroups shown were removed.
    pub fn removed(&self) -> usize {
        self.expiring.len()
    }

    /// Adds a cgroup. One with the same id is replaced.
    pub fn insert(&mut self, id: u64, mut node: Node, filter: &Filter) {
        if self.nodes.contains_key(&id) {
            self.delete(id);
            self.expiring.retain(|(_, expiring)| *expiring != id);
        }
        node.matches = filter.matches(&node.path);
        (node.parent, node.label_at) = self.ancestor(&node.path);
        if !node.path.is_empty() {
            self.by_path.insert(Arc::clone(&node.path), id);
        }
        node.total = node.share();
        node.rank = self.order.rank(&node);
        let (parent, share) = (node.parent, node.share());
        self.nodes.insert(id, node);
        self.place(id);
        self.add(parent, share);
    }

    /// Marks a cgroup and its descendants, of which there are none unless events were lost, as removed.
    pub fn remove(&mut self, id: u64, now: u64) {
        // A tree can be deeper than a stack.
        let mut removed = vec![id];
        let mut next = 0;
        while let Some(node) = removed.get(next).and_then(|id| self.nodes.get(id)) {
            removed.extend(node.children.all.iter().map(|(_, _, child)| *child));
            next += 1;
        }
        for id in removed.into_iter().rev() {
            let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_present()) else { continue };
            let share = node.share().negative();
            node.removed_at = Some(now);
            if self.by_path.get(&node.path) == Some(&id) {
                self.by_path.remove(&node.path);
            }
            self.add(Some(id), share);
            self.expiring.push_back((now.saturating_add(MARKED_NS), id));
        }
        self.drop_excess();
    }

    pub(super) fn drop_excess(&mut self) {
        while self.expiring.len() > MAX_REMOVED {
            self.drop_oldest();
        }
    }

    /// Drops the cgroups that were removed some time ago.
    pub fn expire(&mut self, now: u64) {
        while self.expiring.front().is_some_and(|(at, _)| *at <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id)) = self.expiring.pop_front() {
            self.delete(id);
        }
    }

    /// Counts an event about a cgroup.
    pub fn touch(&mut self, id: u64) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_present()) else { return };
        if node.events == 0 {
            self.active.push(id);
        }
        node.events += 1;
        self.add(Some(id), Totals { events: 1, ..Totals::default() });
    }

    /// Halves the counts of events, so that they are about the recent past.
    pub fn decay(&mut self) {
        for id in std::mem::take(&mut self.active) {
            let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_present()) else { continue };
            let half = node.events / 2;
            let fewer = Totals { events: half - node.events, ..Totals::default() };
            node.events = half;
            self.add(Some(id), fewer);
            if half > 0 {
                self.active.push(id);
            }
        }
    }

    pub fn set_processes(&mut self, id: u64, processes: Option<u32>) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.is_present()) else { return };
        let before = node.share();
        node.processes = processes;
        let mut more = node.share();
        more.add(before.negative());
        if more != Totals::default() {
            self.add(Some(id), more);
        }
    }

    pub fn set_populated(&mut self, id: u64, populated: bool) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.populated = Some(populated);
        }
    }

    pub fn set_folded(&mut self, id: u64, folded: bool) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.folded = folded;
        }
    }

    /// The nearest ancestor of a path, and where the rest of the path begins.
    pub(super) fn ancestor(&self, path: &[u8]) -> (Option<u64>, usize) {
        let mut end = path.len();
        while let Some(slash) = path.get(..end).and_then(|part| part.iter().rposition(|byte| *byte == b'/')) {
            let above = if slash == 0 { &b"/"[..] } else { path.get(..slash).unwrap_or_default() };
            if path.len() > 1
                && let Some(id) = self.by_path.get(above)
            {
                return (Some(*id), slash + 1);
            }
            end = slash;
        }
        (None, 0)
    }

    /// Removes a row. Its children, of which there are none unless events were lost, move to the top.
    fn delete(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else { return };
        let children: Vec<u64> = node.children.all.iter().map(|(_, _, child)| *child).collect();
        for child in children {
            self.unplace(child);
            if let Some(child) = self.nodes.get_mut(&child) {
                (child.parent, child.label_at) = (None, 0);
            }
            self.place(child);
        }
        self.unplace(id);
        let Some(node) = self.nodes.remove(&id) else { return };
        if self.by_path.get(&node.path) == Some(&id) {
            self.by_path.remove(&node.path);
        }
        self.add(node.parent, node.total.negative());
        if let Some(parent) = node.parent {
            self.deselect(parent);
        }
    }

    pub(super) fn siblings_mut(&mut self, parent: Option<u64>) -> Option<&mut Children> {
        match parent {
            Some(parent) => self.nodes.get_mut(&parent).map(|node| &mut node.children),
            None => Some(&mut self.top),
        }
    }

    /// Puts a row among its siblings.
    pub(super) fn place(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else { return };
        let (position, parent) = (node.position(id), node.parent);
        if let Some(siblings) = self.siblings_mut(parent) {
            siblings.all.insert(position);
        }
        self.select(id);
    }

    /// Shows a row that the filter selects, and its ancestors.
    pub(super) fn select(&mut self, id: u64) {
        let mut next = Some(id);
        while let Some(id) = next.take().filter(|_| self.filtered) {
            let Some(node) = self.nodes.get(&id) else { return };
            if !node.matches && node.children.selected.is_empty() {
                return;
            }
            let (position, parent) = (node.position(id), node.parent);
            let is_first =
                self.siblings_mut(parent).is_some_and(|siblings| siblings.selected.insert(position));
            next = parent.filter(|_| is_first);
        }
    }

    /// Hides a row that the filter does not select any more, and its ancestors.
    fn deselect(&mut self, id: u64) {
        let mut next = Some(id);
        while let Some(id) = next.take().filter(|_| self.filtered) {
            let Some(node) = self.nodes.get(&id) else { return };
            if node.matches || !node.children.selected.is_empty() {
                return;
            }
            let (position, parent) = (node.position(id), node.parent);
            if let Some(siblings) = self.siblings_mut(parent) {
                siblings.selected.remove(&position);
            }
            next = parent;
        }
    }

    fn unplace(&mut self, id: u64) {
        let Some(node) = self.nodes.get(&id) else { return };
        let (position, parent) = (node.position(id), node.parent);
        if let Some(siblings) = self.siblings_mut(parent) {
            siblings.all.remove(&position);
            siblings.selected.remove(&position);
        }
    }

    /// Adds to the sums of a cgroup and its ancestors, each of which may get another rank.
    fn add(&mut self, id: Option<u64>, more: Totals) {
        let mut next = id;
        while let Some(id) = next {
            let Some(node) = self.nodes.get_mut(&id) else { return };
            node.total.add(more);
            next = node.parent;
            let rank = self.order.rank(node);
            if rank == node.rank {
                continue;
            }
            let (before, parent) = (node.position(id), node.parent);
            node.rank = rank;
            let after = node.position(id);
            if let Some(siblings) = self.siblings_mut(parent) {
                siblings.all.remove(&before);
                siblings.all.insert(after.clone());
                if siblings.selected.remove(&before) {
                    siblings.selected.insert(after);
                }
            }
        }
    }
}
