//! What `top` knows: the cgroups, from a snapshot and the events since. Pure: it reads no file and no clock.

mod filter;
mod node;
mod order;
mod rate;
mod rebuild;
#[cfg(test)]
mod replay;
mod tree;
mod update;
mod walk;

use std::collections::BTreeMap;

pub use filter::Filter;
pub use node::Node;
pub use order::Order;
pub use tree::Tree;
pub use update::Update;

use rate::Rate;
use update::Incoming;

/// Every hierarchy, and what the status line says.
#[derive(Debug, Default)]
pub struct Model {
    /// By the hierarchies' ids.
    pub trees: BTreeMap<u32, Tree>,
    /// The hierarchy that is shown.
    pub shown: u32,
    pub order: Order,
    pub filter: Filter,
    pub link: Link,
    /// How many records the kernel program lost, and how many events the daemon dropped, since the start.
    pub lost: u64,
    pub dropped: u64,
    pub rate: Rate,
    /// A snapshot that is being received.
    incoming: Option<Incoming>,
}

/// The connection to the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    #[default]
    Up,
    /// Up again: what happened, and when, in ns since boot.
    Back { note: String, at: u64 },
    /// Lost: why, and when. What is shown is as of then.
    Down { reason: String, at: u64 },
}

impl Model {
    /// The tree that is shown.
    pub fn tree(&self) -> Option<&Tree> {
        self.trees.get(&self.shown)
    }

    pub fn tree_mut(&mut self) -> Option<&mut Tree> {
        self.trees.get_mut(&self.shown)
    }

    /// Shows the next hierarchy.
    pub fn next_hierarchy(&mut self) {
        let next = self.trees.range(self.shown.saturating_add(1)..).next();
        if let Some((id, _)) = next.or_else(|| self.trees.first_key_value()) {
            self.shown = *id;
        }
    }

    pub fn set_order(&mut self, order: Order) {
        self.order = order;
        for tree in self.trees.values_mut() {
            tree.set_order(order, &self.filter);
        }
    }

    pub fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
        for tree in self.trees.values_mut() {
            tree.set_filter(&self.filter);
        }
    }

    /// What changes with time alone.
    pub fn tick(&mut self, now: u64) {
        let decays = self.rate.tick(now);
        for tree in self.trees.values_mut() {
            tree.expire(now);
            if decays {
                tree.decay();
            }
        }
        let shown = self.shown;
        self.trees.retain(|id, tree| *id == shown || !tree.is_empty());
    }
}
