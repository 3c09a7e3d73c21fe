//! Counters of events, lifetimes and requests, in addition to the tracker's.

use std::{cell::RefCell, rc::Rc, time::Duration};

use prometheus_client::metrics::{family::Family, histogram::Histogram};

use crate::daemon::{
    index::{Change, Index, Kind, Origin},
    tracker::{Anchor, Listener},
};

/// Histogram buckets of lifetimes, in seconds: from 1 ms to a week.
const LIFETIME_BUCKETS: [f64; 16] = [
    0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0,
    604_800.0,
];

/// Histogram buckets of request durations, in seconds: from 10 µs to 10 s.
const DURATION_BUCKETS: [f64; 14] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 1e-1, 1.0, 10.0];

/// The methods whose durations are measured; the others wait for events.
const TIMED: [&str; 6] = ["Lookup", "List", "Status", "Verify", "Metrics", "History"];

/// Maximum number of hierarchies with counters; beyond it, the counters of a destroyed hierarchy are removed.
const MAX_HIERARCHIES: usize = 64;

/// Counts events, lifetimes and request durations.
pub struct Meter {
    pub(super) hierarchies: RefCell<Vec<Counts>>,
    /// Events without a hierarchy.
    pub(super) no_hierarchy: RefCell<[u64; KINDS]>,
    /// Lifetimes of cgroups, by hierarchy.
    pub(super) lifetimes: Histograms,
    /// Request durations, by method.
    pub(super) durations: Histograms,
    timed: [Histogram; TIMED.len()],
}

type Histograms = Family<[(&'static str, String); 1], Histogram, fn() -> Histogram>;

const KINDS: usize = Kind::EVENTS.len();

/// The counters of one hierarchy.
pub(super) struct Counts {
    pub(super) name: Option<Rc<str>>,
    pub(super) number: u32,
    pub(super) events: [u64; KINDS],
    pub(super) lifetimes: Histogram,
}

impl Counts {
    fn is_destroyed(&self, index: &Index) -> bool {
        index.hierarchies().all(|state| state.id.0 != self.number)
    }
}

impl Default for Meter {
    fn default() -> Self {
        let durations = Histograms::new_with_constructor(|| Histogram::new(DURATION_BUCKETS));
        let timed = TIMED.map(|method| durations.get_or_create_owned(&[("method", method.to_owned())]));
        Self {
            hierarchies: RefCell::default(),
            no_hierarchy: RefCell::new([0; KINDS]),
            lifetimes: Histograms::new_with_constructor(|| Histogram::new(LIFETIME_BUCKETS)),
            durations,
            timed,
        }
    }
}

impl Meter {
    /// Records the duration of a request, without the time in which the client did not read the reply.
    pub fn record_request(&self, method: &str, took: Duration) {
        if let Some(number) = TIMED.iter().position(|timed| *timed == method) {
            self.timed[number].observe(took.as_secs_f64());
        }
    }

    fn changed(&self, change: &Change, index: &Index) {
        let Some(cgroup) = &change.cgroup else {
            self.no_hierarchy.borrow_mut()[change.kind.event_number()] += 1;
            return;
        };
        let mut hierarchies = self.hierarchies.borrow_mut();
        // The id of a destroyed hierarchy may have been reused, so the name must match, too.
        let known = hierarchies.iter().position(|counts| {
            counts.number == cgroup.hierarchy.0 && counts.name.as_deref() == cgroup.hierarchy_name.as_deref()
        });
        let number = known.unwrap_or_else(|| {
            if hierarchies.len() >= MAX_HIERARCHIES
                && let Some(destroyed) = hierarchies.iter().position(|counts| counts.is_destroyed(index))
            {
                let Counts { name, number, .. } = hierarchies.remove(destroyed);
                self.lifetimes.remove(&[("hierarchy", label(name.as_deref(), number))]);
            }
            let (name, number) = (cgroup.hierarchy_name.clone(), cgroup.hierarchy.0);
            let lifetimes =
                self.lifetimes.get_or_create_owned(&[("hierarchy", label(name.as_deref(), number))]);
            hierarchies.push(Counts { name, number, events: [0; KINDS], lifetimes });
            hierarchies.len() - 1
        });
        let counts = &mut hierarchies[number];
        counts.events[change.kind.event_number()] += 1;
        if let Some(creation) = &change.creation
            // The lifetime of any other instance is unknown.
            && creation.origin == Origin::Observed
            && !change.inferred
        {
            let ns = change.boot_ns.saturating_sub(creation.boot_ns);
            counts.lifetimes.observe(Duration::from_nanos(ns).as_secs_f64());
        }
    }
}

/// A hierarchy's name, or `hierarchy-N` if its name is unknown.
pub(super) fn label(name: Option<&str>, number: u32) -> String {
    name.map_or_else(|| format!("hierarchy-{number}"), str::to_owned)
}

/// Registers a meter with the tracker.
pub struct MeterListener(pub Rc<Meter>);

impl Listener for MeterListener {
    fn changed(&mut self, change: &Rc<Change>, index: &Index, _anchor: Anchor) {
        self.0.changed(change, index);
    }
}
