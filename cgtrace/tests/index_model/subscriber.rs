//! A subscriber that knows only the changes it receives.

use std::collections::BTreeMap;

use cgtrace::daemon::index::{Change, HierarchyId, Index, Key, Kind, ROOT};

#[derive(Default)]
pub struct Subscriber {
    seq: u64,
    /// `None`: the change had no path.
    pub live: BTreeMap<Key, Option<Vec<u8>>>,
}

impl Subscriber {
    pub fn take(&mut self, change: &Change) -> Result<(), String> {
        if change.seq != self.seq + 1 {
            return Err(format!("after {}: {change:?}", self.seq));
        }
        self.seq = change.seq;
        let Some(cgroup) = &change.cgroup else { return Ok(()) };
        let key = Key { hierarchy: cgroup.hierarchy, id: cgroup.id };
        let path = cgroup.path.as_deref().map(<[u8]>::to_vec);
        match change.kind {
            Kind::Mkdir => {
                let before = self.live.insert(key, path);
                return before.map_or(Ok(()), |_| Err(format!("created twice: {change:?}")));
            }
            Kind::Rmdir => {
                self.live.remove(&key);
            }
            Kind::Rename => {
                let from = change.from.as_ref().and_then(|from| from.path.as_deref());
                if let Some(from) = from.filter(|from| Some(*from) != path.as_deref()) {
                    self.rename_below(key.hierarchy, from, path.as_deref());
                }
                self.live.insert(key, path);
            }
            Kind::HierarchyDestroyed => self.live.retain(|live, _| live.hierarchy != key.hierarchy),
            _ => {}
        }
        Ok(())
    }

    fn rename_below(&mut self, hierarchy: HierarchyId, from: &[u8], to: Option<&[u8]>) {
        for (_, path) in self.live.iter_mut().filter(|(key, _)| key.hierarchy == hierarchy) {
            let below = path.as_deref().and_then(|path| path.strip_prefix(from));
            if let Some(below) = below.filter(|below| below.starts_with(b"/")) {
                *path = to.map(|to| [to, below].concat());
            }
        }
    }

    /// Takes a new snapshot of one hierarchy: its initial scan yields no changes. A cgroup whose parent's
    /// mkdir was lost is not connected to the root yet.
    pub fn snapshot(&mut self, index: &Index, hierarchy: HierarchyId) {
        self.live.retain(|live, _| live.hierarchy != hierarchy || index.instance(*live).is_some());
        let all = index.subtree(Key { hierarchy, id: ROOT });
        let below = all.filter(|(key, _)| key.id != ROOT);
        self.live.extend(below.map(|(key, _)| (key, index.path(key))));
    }
}
