//! Sends the live set to the history: at the start, when a hierarchy has been scanned, and after a gap.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use cgtrace_history::{Entry, EntryCgroup, EntryLive, LiveSet, Requests};

use super::{History, entries};
use crate::daemon::{index::HierarchyId, tracker::Tracker};

/// How many bytes of paths a live set has at most: a user can create thousands of cgroups with paths of 100 KB.
/// A cgroup beyond it has the path that is stored for it, or none.
const MAX_PATH_BYTES: usize = 16 << 20;

/// Sends the live set whenever it is needed; never returns.
pub async fn keep_live_set(history: Rc<History>, tracker: Rc<RefCell<Tracker>>) {
    let settled = tracker.borrow().settled();
    let mut sent: Vec<HierarchyId> = Vec::new();
    loop {
        let scanned_one = settled.notified();
        let Requests { live_set, seq_after } = history.recorder.take_requests();
        if let Some(seq) = seq_after {
            tracker.borrow_mut().resume_seq(seq);
        }
        if live_set {
            history.stale.set(true);
        }
        {
            let tracker = tracker.borrow();
            let scanned: Vec<HierarchyId> =
                tracker.index().hierarchies().filter(|state| state.scanned).map(|state| state.id).collect();
            let is_new = scanned.iter().any(|id| !sent.contains(id));
            // Before that, the cgroups of a hierarchy are not all known.
            if tracker.unsettled().is_none() && (is_new || history.stale.take()) {
                history.send_live_set(&tracker);
                sent = scanned;
            }
        }
        tokio::select! {
            () = scanned_one => {}
            () = history.needs.notified() => {}
        }
    }
}

/// Takes as much from what is left, if it is enough.
fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

impl History {
    /// Sends every cgroup of the hierarchies that have been scanned. It takes about 0.3 µs per cgroup.
    fn send_live_set(&self, tracker: &Tracker) {
        let index = tracker.index();
        let names: BTreeMap<HierarchyId, Option<Box<str>>> = index
            .hierarchies()
            .filter(|state| state.scanned)
            .map(|state| (state.id, state.name.as_deref().map(Box::from)))
            .collect();
        let mut cgroups = Vec::new();
        let mut left = MAX_PATH_BYTES;
        index.live(|cgroup| {
            let Some(name) = names.get(&cgroup.key.hierarchy) else { return };
            cgroups.push(EntryLive {
                cgroup: EntryCgroup {
                    hierarchy: cgroup.key.hierarchy,
                    hierarchy_name: name.clone(),
                    id: cgroup.key.id,
                    path: cgroup.path.filter(|path| take(&mut left, path.len())).map(Box::from),
                },
                creation: entries::creation(&cgroup.creation),
            });
        });
        self.recorder.record(Entry::Live(Box::new(LiveSet {
            boot_ns: cgtrace_host::clock::boot_ns(),
            zero_wall_ns: entries::zero_wall_ns(tracker.anchor()),
            hierarchies: names.into_keys().collect(),
            cgroups,
        })));
    }
}
