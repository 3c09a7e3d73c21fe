//! A scan of a hierarchy's directories, each read at another time while the tree changes.

use std::hash::{DefaultHasher, Hash, Hasher};

use cgtrace::daemon::index::{CgroupId, ROOT, Scanned};

use crate::kernel::Tree;

/// The position of an entry in a directory: kernfs sorts by the name's hash.
type Position = (u64, Vec<u8>);

enum Reading {
    /// To be opened by its name.
    Pending,
    Begun,
    /// Read up to this position.
    After(Position),
}

/// A directory whose name was read.
struct Directory {
    id: CgroupId,
    parent: CgroupId,
    leaf: Vec<u8>,
    reading: Reading,
}

pub struct DirectoryScan {
    unread: Vec<Directory>,
    pub found: Vec<Scanned>,
    pub complete: bool,
}

impl DirectoryScan {
    pub fn begin() -> Self {
        let root = Directory { id: ROOT, parent: CgroupId(0), leaf: Vec::new(), reading: Reading::Begun };
        Self { unread: vec![root], found: Vec::new(), complete: true }
    }

    /// Opens one directory, or reads one entry. Returns false when everything was read.
    pub fn step(&mut self, tree: &Tree, which: u8) -> bool {
        if self.unread.is_empty() {
            return false;
        }
        let index = usize::from(which) % self.unread.len();
        let directory = &mut self.unread[index];
        let after = match &directory.reading {
            Reading::Begun => None,
            Reading::After(position) => Some(position),
            Reading::Pending => {
                if tree.child(directory.parent, &directory.leaf) == Some(directory.id) {
                    directory.reading = Reading::Begun;
                } else {
                    self.unread.swap_remove(index);
                }
                return true;
            }
        };
        let entries = tree.children(directory.id).map(|(id, leaf)| ((hash(leaf), leaf.to_vec()), id));
        let entry = entries.filter(|(position, _)| after.is_none_or(|after| position > after)).min();
        let Some((position, id)) = entry else {
            self.unread.swap_remove(index);
            return true;
        };
        let (parent, leaf) = (directory.id, position.1.clone());
        directory.reading = Reading::After(position);
        self.found.push(Scanned { id, parent, leaf: leaf.clone().into() });
        self.unread.push(Directory { id, parent, leaf, reading: Reading::Pending });
        true
    }

    /// Makes one directory unreadable: its descendants are not found.
    pub fn skip(&mut self, which: u8) {
        if !self.unread.is_empty() {
            self.unread.swap_remove(usize::from(which) % self.unread.len());
            self.complete = false;
        }
    }

    pub fn finish(&mut self, tree: &Tree) {
        while self.step(tree, 0) {}
    }
}

fn hash(leaf: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    leaf.hash(&mut hasher);
    hasher.finish()
}
