//! Changes that concern every cgroup of a tree.

use std::{collections::HashMap, mem, sync::Arc};

use super::{
    filter::Filter,
    node::{Children, MARKED_NS, Node},
    order::Order,
    tree::Tree,
};

impl Tree {
    /// Replaces the cgroups by those of a snapshot. Of those that are in both, what the user did and what was
    /// counted remains. Those that are not in the snapshot were removed meanwhile.
    pub fn replace(&mut self, cgroups: Vec<(u64, Node)>, filter: &Filter, now: u64) {
        let mut before = mem::take(&mut self.nodes);
        let mut after = HashMap::with_capacity(cgroups.len());
        for (id, mut node) in cgroups {
            if let Some(before) = before.remove(&id) {
                node.creator = node.creator.or(before.creator);
                node.folded = before.folded;
                node.populated = before.populated;
                node.processes = before.processes;
                node.events = before.events;
            }
            after.insert(id, node);
        }
        self.expiring.retain(|(_, id)| before.contains_key(id));
        for (id, mut node) in before {
            if node.is_present() {
                node.removed_at = Some(now);
                self.expiring.push_back((now.saturating_add(MARKED_NS), id));
            }
            after.insert(id, node);
        }
        self.relink(after, filter);
        self.drop_excess();
    }

    /// Gives a cgroup another path, which changes those of its descendants.
    pub fn rename(&mut self, id: u64, path: Vec<u8>, filter: &Filter) {
        let Some(before) = self.nodes.get(&id).map(|node| Arc::clone(&node.path)) else { return };
        let mut nodes = mem::take(&mut self.nodes);
        for node in nodes.values_mut().filter(|node| node.is_present()) {
            let below = node.path.strip_prefix(&*before);
            if let Some(below) = below.filter(|below| below.starts_with(b"/") && !before.is_empty()) {
                node.path = [&path, below].concat().into();
            }
        }
        if let Some(node) = nodes.get_mut(&id) {
            node.path = path.into();
        }
        self.relink(nodes, filter);
    }

    pub fn set_order(&mut self, order: Order, filter: &Filter) {
        self.order = order;
        let nodes = mem::take(&mut self.nodes);
        self.relink(nodes, filter);
    }

    pub fn set_filter(&mut self, filter: &Filter) {
        self.filtered = !filter.is_all();
        self.top.selected.clear();
        for node in self.nodes.values_mut() {
            node.children.selected.clear();
            node.matches = filter.matches(&node.path);
        }
        let matching = self.nodes.iter().filter(|(_, node)| node.matches && self.filtered);
        for id in matching.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.select(id);
        }
    }

    /// Builds the tree from its cgroups' paths.
    fn relink(&mut self, nodes: HashMap<u64, Node>, filter: &Filter) {
        self.filtered = !filter.is_all();
        self.nodes = nodes;
        self.top = Children::default();
        let exists = self.nodes.iter().filter(|(_, node)| node.is_present() && !node.path.is_empty());
        self.by_path = exists.map(|(id, node)| (Arc::clone(&node.path), *id)).collect();
        self.active = self.nodes.iter().filter(|(_, node)| node.events > 0).map(|(id, _)| *id).collect();
        let mut sorted: Vec<(Arc<[u8]>, u64)> =
            self.nodes.iter().map(|(id, node)| (Arc::clone(&node.path), *id)).collect();
        // Ancestors come before their descendants.
        sorted.sort_unstable();
        for (path, id) in &sorted {
            let (parent, label_at) = self.ancestor(path);
            if let Some(node) = self.nodes.get_mut(id) {
                (node.parent, node.label_at) = (parent, label_at);
                node.matches = filter.matches(path);
                node.children = Children::default();
                node.total = node.share();
            }
        }
        for (_, id) in sorted.iter().rev() {
            let Some(node) = self.nodes.get_mut(id) else { continue };
            node.rank = self.order.rank(node);
            let (total, parent) = (node.total, node.parent);
            if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(&parent)) {
                parent.total.add(total);
            }
        }
        for (_, id) in sorted {
            self.place(id);
        }
    }
}
