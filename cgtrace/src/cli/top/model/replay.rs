//! After any sequence of events, snapshots and keys, the model has the cgroups that the daemon lists.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace_client::wire::{Cgroup, CgroupRef, Event, EventKind, Timestamp};
use proptest::{prelude::*, sample::Index};

use super::{Filter, Model, Order, Tree, Update};

/// A step. An index selects one of the cgroups.
#[derive(Clone, Debug)]
enum Step {
    Mkdir(Index, u8),
    Rmdir(Index),
    Rename(Index, u8),
    Attach(Index, Index),
    Processes(Index, u32),
    /// The connection breaks; what happened until the next snapshot is missed.
    Break,
    Snapshot,
    Pass(u64),
    Fold(Index, bool),
    Order(u8),
    Filter(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        6 => (index(), 0..6_u8).prop_map(|(parent, leaf)| Step::Mkdir(parent, leaf)),
        4 => index().prop_map(Step::Rmdir),
        1 => (index(), 6..9_u8).prop_map(|(cgroup, leaf)| Step::Rename(cgroup, leaf)),
        2 => (index(), index()).prop_map(|(to, from)| Step::Attach(to, from)),
        2 => (index(), 0..9_u32).prop_map(|(cgroup, processes)| Step::Processes(cgroup, processes)),
        1 => Just(Step::Break),
        1 => Just(Step::Snapshot),
        2 => (0..4_000_000_000_u64).prop_map(Step::Pass),
        1 => (index(), any::<bool>()).prop_map(|(cgroup, folded)| Step::Fold(cgroup, folded)),
        1 => (0..4_u8).prop_map(Step::Order),
        1 => (0..4_u8).prop_map(Step::Filter),
    ]
}

/// The kernel, the daemon and the model.
#[derive(Default)]
struct Stage {
    /// What exists, by id.
    live: BTreeMap<u64, Vec<u8>>,
    last_id: u64,
    now: u64,
    is_broken: bool,
    model: Model,
}

impl Stage {
    fn new() -> Self {
        let mut stage = Self { live: BTreeMap::from([(1, b"/".to_vec())]), last_id: 1, ..Self::default() };
        stage.snapshot();
        stage
    }

    fn select(&self, index: Index) -> u64 {
        **index.get(&self.live.keys().collect::<Vec<_>>())
    }

    fn event(&mut self, kind: EventKind, id: u64, path: &[u8], from: Option<u64>) {
        if self.is_broken {
            return;
        }
        let event = Event {
            kind,
            hierarchy: Some("v2".to_owned()),
            hierarchy_id: Some(0),
            id: Some(id),
            path: Some(String::from_utf8(path.to_vec()).unwrap()),
            from: from.map(|id| CgroupRef { id, ..CgroupRef::default() }),
            boot_ns: self.now,
            ..Event::default()
        };
        self.model.apply(Update::Event(Box::new(event)), self.now);
    }

    fn snapshot(&mut self) {
        let cgroup = |(id, path): (&u64, &Vec<u8>)| Cgroup {
            hierarchy: "v2".to_owned(),
            id: *id,
            path: Some(String::from_utf8(path.clone()).unwrap()),
            created_at: Some(Timestamp { boot_ns: *id, ..Timestamp::default() }),
            ..Cgroup::default()
        };
        let mut all: Vec<Cgroup> = self.live.iter().map(cgroup).collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        for part in all.chunks(3) {
            self.model.apply(Update::Existing(part.to_vec()), self.now);
        }
        self.model.apply(Update::Complete(None), self.now);
        self.is_broken = false;
    }

    fn apply(&mut self, step: &Step) {
        self.now += 1_000;
        match *step {
            Step::Mkdir(parent, leaf) => {
                let path = child(&self.live[&self.select(parent)], leaf);
                if !self.live.values().any(|live| *live == path) {
                    self.last_id += 1;
                    self.live.insert(self.last_id, path.clone());
                    self.event(EventKind::Mkdir, self.last_id, &path, None);
                }
            }
            Step::Rmdir(cgroup) => {
                let id = self.select(cgroup);
                let path = self.live[&id].clone();
                if id != 1 && !self.live.values().any(|live| is_below(live, &path)) {
                    self.live.remove(&id);
                    self.event(EventKind::Rmdir, id, &path, None);
                }
            }
            Step::Rename(cgroup, leaf) => {
                let id = self.select(cgroup);
                let before = self.live[&id].clone();
                let parent = before.iter().rposition(|byte| *byte == b'/').unwrap();
                let after = child(&before[..parent.max(1)], leaf);
                if id != 1 && !self.live.values().any(|live| *live == after) {
                    for path in self.live.values_mut().filter(|path| is_below(path, &before)) {
                        *path = [&after, &path[before.len()..]].concat();
                    }
                    self.live.insert(id, after.clone());
                    self.event(EventKind::Rename, id, &after, None);
                }
            }
            Step::Attach(to, from) => {
                let (to, from) = (self.select(to), self.select(from));
                let path = self.live[&to].clone();
                self.event(EventKind::Attach, to, &path, Some(from));
            }
            Step::Processes(cgroup, processes) => {
                let id = self.select(cgroup);
                self.model.tree_mut().unwrap().set_processes(id, (processes > 0).then_some(processes));
            }
            Step::Break => {
                self.is_broken = true;
                self.model.apply(Update::Down("test".to_owned()), self.now);
            }
            Step::Snapshot => self.snapshot(),
            Step::Pass(time) => {
                self.now += time;
                self.model.tick(self.now);
            }
            Step::Fold(cgroup, folded) => {
                let id = self.select(cgroup);
                self.model.tree_mut().unwrap().set_folded(id, folded);
            }
            Step::Order(order) => {
                self.model.set_order((0..order).fold(Order::Name, |order, _| order.next()));
            }
            Step::Filter(filter) => {
                let texts = ["", "1", "/0/1", "**/2"];
                self.model.set_filter(Filter::parse(texts[usize::from(filter)]).unwrap());
            }
        }
    }
}

fn child(parent: &[u8], leaf: u8) -> Vec<u8> {
    let separator = if parent == b"/" { "" } else { "/" };
    [parent, format!("{separator}{leaf}").as_bytes()].concat()
}

fn is_below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|below| below.starts_with(b"/") || above == b"/" && path != b"/")
}

fn rows(tree: &Tree) -> Vec<u64> {
    std::iter::successors(tree.first(), |id| tree.next(*id)).collect()
}

/// The rows are the same upwards and downwards; those of the filter are shown unless folded; the sums are
/// right.
fn check(tree: &Tree, filter: &Filter) {
    let down = rows(tree);
    let mut up: Vec<u64> = std::iter::successors(tree.last(), |id| tree.previous(*id)).collect();
    up.reverse();
    assert_eq!(down, up);
    let shown: BTreeSet<u64> = down.iter().copied().collect();
    assert_eq!(shown.len(), down.len(), "a row is shown twice");
    for id in tree.ids() {
        let node = tree.get(id).unwrap();
        assert_eq!(tree.is_row(id), shown.contains(&id), "{node:?}");
        let below: Vec<u64> =
            tree.ids().filter(|other| *other == id || ancestors(tree, *other).contains(&id)).collect();
        let selects = below.iter().any(|other| filter.matches(&tree.get(*other).unwrap().path));
        let is_folded = ancestors(tree, id).iter().any(|above| tree.get(*above).unwrap().folded);
        assert_eq!(tree.is_row(id), selects && !is_folded, "{node:?}");
        let mut total = super::node::Totals::default();
        for other in below {
            total.add(tree.get(other).unwrap().share());
        }
        assert_eq!(node.total, total, "{node:?}");
        assert_eq!(node.rank, tree.order.rank(node));
    }
}

fn ancestors(tree: &Tree, id: u64) -> Vec<u64> {
    std::iter::successors(tree.get(id).and_then(|node| node.parent), |id| tree.get(*id)?.parent).collect()
}

proptest! {
    #[test]
    fn the_model_has_what_the_daemon_lists(steps in proptest::collection::vec(step(), 0..60)) {
        let mut stage = Stage::new();
        for step in &steps {
            stage.apply(step);
            let tree = stage.model.tree().unwrap();
            check(tree, &stage.model.filter);
            if stage.is_broken {
                continue;
            }
            let present = tree.ids().filter(|id| tree.get(*id).unwrap().is_present());
            let present: BTreeMap<u64, Vec<u8>> =
                present.map(|id| (id, tree.get(id).unwrap().path.to_vec())).collect();
            prop_assert_eq!(&present, &stage.live);
            prop_assert_eq!(tree.present(), present.len());
        }
        // In the end what was removed is gone, and the rows are a tree sorted by name.
        stage.snapshot();
        stage.model.tick(stage.now + 6_000_000_000);
        stage.model.set_filter(Filter::All);
        stage.model.set_order(Order::Name);
        let tree = stage.model.tree_mut().unwrap();
        tree.ids().collect::<Vec<_>>().into_iter().for_each(|id| tree.set_folded(id, false));
        let shown: Vec<&[u8]> = rows(tree).iter().map(|id| &*tree.get(*id).unwrap().path).collect();
        let mut listed: Vec<&[u8]> = stage.live.values().map(Vec::as_slice).collect();
        // One digit per component, so that this is the order of the tree.
        listed.sort_unstable();
        prop_assert_eq!(shown, listed);
    }
}
