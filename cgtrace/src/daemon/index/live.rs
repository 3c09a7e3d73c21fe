//! Every live cgroup at once.

use super::Index;
use super::event::{Key, ROOT};
use super::instance::Creation;
use super::subtree::Subtree;

/// A live cgroup, as [`Index::live`] visits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCgroup<'a> {
    /// The cgroup.
    pub key: Key,
    /// Its absolute path; `None` if a name in it or an ancestor is unknown.
    pub path: Option<&'a [u8]>,
    /// Its creation.
    pub creation: Creation,
}

impl Index {
    /// Visits every live cgroup of every hierarchy, parents before children. Those with an unknown ancestor
    /// are the last of their hierarchy.
    pub fn live(&self, mut visit: impl FnMut(LiveCgroup<'_>)) {
        for (hierarchy, known) in &self.hierarchies {
            let tree = &known.tree;
            for top in tree.find(ROOT).into_iter().chain(tree.unattached()) {
                let mut subtree = Subtree::new(*hierarchy, tree, top);
                while let Some((node, _)) = subtree.next_node() {
                    visit(LiveCgroup {
                        key: Key { hierarchy: *hierarchy, id: node.id },
                        path: subtree.path(),
                        creation: node.creation(),
                    });
                }
            }
        }
    }
}
