//! Applies what the daemon sends.

use std::collections::BTreeMap;

use cgtrace_client::wire::{Cgroup, Event, EventKind};

use super::{
    Link, Model,
    node::{Node, Since},
    tree::Tree,
};
use crate::cli::text;

/// What the connection to the daemon yields.
#[derive(Debug)]
pub enum Update {
    /// A part of a snapshot. The first part begins a new one.
    Existing(Vec<Cgroup>),
    /// The snapshot is complete. Why there is another than the first one.
    Complete(Option<String>),
    Event(Box<Event>),
    /// This many events were dropped. A snapshot follows, if the connection can be made again.
    Dropped(u64),
    /// The connection is lost, and being made again.
    Down(String),
}

/// A snapshot that is being received, by hierarchy.
pub type Incoming = BTreeMap<u32, (String, Vec<(u64, Node)>)>;

impl Model {
    /// Applies an update at a time in ns since boot.
    pub fn apply(&mut self, update: Update, now: u64) {
        match update {
            Update::Existing(cgroups) => {
                let incoming = self.incoming.get_or_insert_default();
                for cgroup in cgroups {
                    let tree = incoming.entry(cgroup.hierarchy_id).or_default();
                    if tree.0.is_empty() {
                        tree.0 = text::escape(&cgroup.hierarchy);
                    }
                    tree.1.push((cgroup.id, Node::of(&cgroup)));
                }
            }
            Update::Complete(note) => {
                let is_first = self.trees.is_empty();
                let incoming = self.incoming.take().unwrap_or_default();
                self.replace(incoming, now);
                if is_first {
                    self.show_largest();
                }
                self.link = note.map_or(Link::Up, |note| Link::Back { note, at: now });
            }
            Update::Event(event) => {
                self.rate.count();
                self.event(&event, now);
            }
            Update::Dropped(dropped) => self.dropped += dropped,
            Update::Down(reason) => {
                self.incoming = None;
                let at = match &self.link {
                    Link::Down { at, .. } => *at,
                    Link::Up | Link::Back { .. } => now,
                };
                self.link = Link::Down { reason, at };
            }
        }
    }

    fn replace(&mut self, incoming: Incoming, now: u64) {
        for (id, tree) in &mut self.trees {
            if !incoming.contains_key(id) {
                tree.replace(Vec::new(), &self.filter, now);
            }
        }
        for (id, (name, cgroups)) in incoming {
            self.tree_of(id).name = name;
            if let Some(tree) = self.trees.get_mut(&id) {
                tree.replace(cgroups, &self.filter, now);
            }
        }
    }

    fn show_largest(&mut self) {
        // Of several the first, which is v2.
        let largest = self.trees.iter().rev().max_by_key(|(_, tree)| tree.present());
        self.shown = largest.map_or(0, |(id, _)| *id);
    }

    fn tree_of(&mut self, hierarchy: u32) -> &mut Tree {
        let (order, filtered) = (self.order, !self.filter.is_all());
        // The first cgroup of all is shown, on whichever hierarchy it is.
        if !self.trees.contains_key(&self.shown) {
            self.shown = hierarchy;
        }
        self.trees.entry(hierarchy).or_insert_with(|| Tree { order, filtered, ..Tree::default() })
    }

    fn event(&mut self, event: &Event, now: u64) {
        self.lost = self.lost.saturating_add(event.lost.unwrap_or(0));
        let (Some(hierarchy), Some(id)) = (event.hierarchy_id, event.id) else { return };
        match event.kind {
            EventKind::HierarchyDestroyed => {
                self.trees.remove(&hierarchy);
                if hierarchy == self.shown {
                    self.show_largest();
                }
                return;
            }
            EventKind::Mkdir | EventKind::HierarchyCreated => self.created(hierarchy, id, event),
            EventKind::Rename => self.renamed(hierarchy, id, event),
            _ => {}
        }
        let name = event.hierarchy.as_deref();
        let Some(tree) = self.trees.get_mut(&hierarchy) else { return };
        if matches!(event.kind, EventKind::Remount | EventKind::HierarchyCreated) {
            tree.name = name.map(text::escape).unwrap_or_default();
        }
        tree.touch(id);
        match event.kind {
            EventKind::Rmdir => tree.remove(id, now),
            EventKind::Populated => tree.set_populated(id, true),
            EventKind::Empty => tree.set_populated(id, false),
            _ => {}
        }
        // A task that moved concerns both cgroups.
        if let Some(from) = event.from.as_ref().filter(|from| from.id != id) {
            tree.touch(from.id);
        }
    }

    fn created(&mut self, hierarchy: u32, id: u64, event: &Event) {
        let path = text::bytes(event.path.as_deref(), event.path_hex.as_deref());
        let known = self.trees.get(&hierarchy).and_then(|tree| tree.get(id));
        if known.is_some_and(|node| node.is_present() && *node.path == *path) {
            return;
        }
        let since = Since { boot_ns: event.boot_ns, created: true };
        let mut node = Node::new(path, since, event.by.as_ref());
        if event.kind == EventKind::Mkdir {
            (node.populated, node.processes) = (Some(false), Some(0));
        }
        let tree = self.tree_of(hierarchy);
        if tree.name.is_empty() {
            tree.name = event.hierarchy.as_deref().map(text::escape).unwrap_or_default();
        }
        if let Some(tree) = self.trees.get_mut(&hierarchy) {
            tree.insert(id, node, &self.filter);
        }
    }

    fn renamed(&mut self, hierarchy: u32, id: u64, event: &Event) {
        let path = text::bytes(event.path.as_deref(), event.path_hex.as_deref());
        let Some(tree) = self.trees.get_mut(&hierarchy) else { return };
        if tree.get(id).is_some_and(Node::is_present) {
            tree.rename(id, path, &self.filter);
        } else {
            // It was unknown: events were lost.
            let since = Since { boot_ns: event.boot_ns, created: false };
            tree.insert(id, Node::new(path, since, None), &self.filter);
        }
    }
}
