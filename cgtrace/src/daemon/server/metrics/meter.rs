//! What is counted beside the tracker's own counters.

use std::{cell::RefCell, rc::Rc, time::Duration};

use prometheus_client::metrics::{family::Family, histogram::Histogram};

use crate::daemon::{
    index::{Change, Index, Key, Kind, Origin},
    tracker::{Anchor, Listener},
};

/// Upper ends of the lengths of instances, in seconds: from a millisecond to a week.
const LIVES: [f64; 16] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0,
    604_800.0,
];

/// Upper ends of the times that answers take, in seconds: from 10 µs to 10 s.
const ANSWERS: [f64; 14] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 1e-1, 1.0, 10.0];

/// The methods whose answers are timed; the others answer when something happens.
const TIMED: [&str; 6] = ["Lookup", "List", "Status", "Verify", "Metrics", "History"];

/// Of so many hierarchies counts are kept; beyond, those of one that has ended make room.
const MOST: usize = 64;

/// Counts events, lifetimes and answers.
pub struct Meter {
    pub(super) hierarchies: RefCell<Vec<Counts>>,
    /// Changes that concern no hierarchy.
    pub(super) elsewhere: RefCell<[u64; KINDS]>,
    /// How long cgroups lived, by hierarchy.
    pub(super) instances: Histograms,
    /// How long answers took, by method.
    pub(super) answers: Histograms,
    timed: [Histogram; TIMED.len()],
}

type Histograms = Family<[(&'static str, String); 1], Histogram, fn() -> Histogram>;

const KINDS: usize = Kind::EVENTS.len();

/// What happened on one hierarchy.
pub(super) struct Counts {
    pub(super) name: Option<Rc<str>>,
    pub(super) number: u32,
    pub(super) events: [u64; KINDS],
    pub(super) instances: Histogram,
}

impl Counts {
    fn is_gone(&self, index: &Index) -> bool {
        index.hierarchies().all(|state| state.id.0 != self.number)
    }
}

impl Default for Meter {
    fn default() -> Self {
        let answers = Histograms::new_with_constructor(|| Histogram::new(ANSWERS));
        let timed = TIMED.map(|method| answers.get_or_create_owned(&[("method", method.to_owned())]));
        Self {
            hierarchies: RefCell::default(),
            elsewhere: RefCell::new([0; KINDS]),
            instances: Histograms::new_with_constructor(|| Histogram::new(LIVES)),
            answers,
            timed,
        }
    }
}

impl Meter {
    /// Notes how long an answer took, without the time in which the client did not read it.
    pub fn answered(&self, method: &str, took: Duration) {
        if let Some(number) = TIMED.iter().position(|timed| *timed == method) {
            self.timed[number].observe(took.as_secs_f64());
        }
    }

    fn changed(&self, change: &Change, index: &Index) {
        let Some(cgroup) = &change.cgroup else {
            self.elsewhere.borrow_mut()[change.kind.event_number()] += 1;
            return;
        };
        let mut hierarchies = self.hierarchies.borrow_mut();
        // The same id may be another hierarchy's by now, so that it is the name that counts.
        let known = hierarchies.iter().position(|counts| {
            counts.number == cgroup.hierarchy.0 && counts.name.as_deref() == cgroup.hierarchy_name.as_deref()
        });
        let number = known.unwrap_or_else(|| {
            if hierarchies.len() >= MOST
                && let Some(gone) = hierarchies.iter().position(|counts| counts.is_gone(index))
            {
                let Counts { name, number, .. } = hierarchies.remove(gone);
                self.instances.remove(&[("hierarchy", label(name.as_deref(), number))]);
            }
            let (name, number) = (cgroup.hierarchy_name.clone(), cgroup.hierarchy.0);
            let instances =
                self.instances.get_or_create_owned(&[("hierarchy", label(name.as_deref(), number))]);
            hierarchies.push(Counts { name, number, events: [0; KINDS], instances });
            hierarchies.len() - 1
        });
        let counts = &mut hierarchies[number];
        counts.events[change.kind.event_number()] += 1;
        if change.kind == Kind::Rmdir
            && let Some(previous) = index.previous_by_id(Key { hierarchy: cgroup.hierarchy, id: cgroup.id })
            // Of any other instance the length is not known.
            && previous.creation.origin == Origin::Observed
            && !previous.inferred
        {
            let ns = previous.removed_boot_ns.saturating_sub(previous.creation.boot_ns);
            counts.instances.observe(Duration::from_nanos(ns).as_secs_f64());
        }
    }
}

/// A hierarchy's name, or what stands for it.
pub(super) fn label(name: Option<&str>, number: u32) -> String {
    name.map_or_else(|| format!("hierarchy-{number}"), str::to_owned)
}

/// Listens to the tracker.
pub struct MeterListener(pub Rc<Meter>);

impl Listener for MeterListener {
    fn changed(&mut self, change: &Rc<Change>, index: &Index, _anchor: Anchor) {
        self.0.changed(change, index);
    }
}
