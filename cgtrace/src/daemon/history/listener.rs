//! Passes what the tracker reports to the history thread.

use std::rc::Rc;

use cgtrace_history::{Entry, EntryCgroup};

use super::{History, entries};
use crate::daemon::{
    index::{Change, Index, Key},
    tracker::{Anchor, Listener, PreexistingProcess},
};

/// Registers a history with the tracker.
#[derive(Debug)]
pub struct HistoryListener(pub Rc<History>);

impl Listener for HistoryListener {
    fn changed(&mut self, change: &Rc<Change>, _index: &Index, anchor: Anchor) {
        if self.0.kinds.contains(change.kind) {
            self.0.recorder.record(Entry::Event(Box::new(entries::event(change, anchor))));
        }
    }

    fn preexisting(&mut self, process: &PreexistingProcess, _index: &Index, anchor: Anchor) {
        self.0.recorder.record(Entry::Process(Box::new(entries::process(process, anchor))));
    }

    fn named(&mut self, key: Key, path: &Rc<[u8]>) {
        let path = Some(Box::from(&**path));
        let cgroup = EntryCgroup { hierarchy: key.hierarchy, hierarchy_name: None, id: key.id, path };
        self.0.recorder.record(Entry::Named { cgroup });
    }
}
