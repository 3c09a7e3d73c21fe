//! Events that are one change on several hierarchies: they share a row.

use std::collections::VecDeque;

use cgtrace_client::wire::{Event, Task};

/// How far apart such events may be. A service manager changes a cgroup on a dozen hierarchies within a few
/// milliseconds.
pub const TOGETHER_MS: u64 = 50;

/// How many changes may be incomplete at a time.
const MAX_PENDING: usize = 64;

/// A change, and the hierarchies on which it happened.
#[derive(Debug, PartialEq, Eq)]
pub struct Together {
    /// The first of its events.
    pub event: Event,
    /// In the order of the events; empty if the event has none.
    pub hierarchies: Vec<String>,
}

impl Together {
    pub fn of(event: &Event) -> Self {
        Self { event: event.clone(), hierarchies: event.hierarchy.clone().into_iter().collect() }
    }

    /// Whether another event is the same change on another hierarchy.
    fn includes(&self, other: &Event) -> bool {
        let event = &self.event;
        let Some(hierarchy) = &other.hierarchy else { return false };
        let from = |event: &Event| event.from.as_ref().map(|from| (from.path.clone(), from.path_hex.clone()));
        let task = |task: &Option<Task>| task.as_ref().map(|task| (task.pid, task.tid, task.comm.clone()));
        event.kind == other.kind
            && event.path.is_some()
            && event.path == other.path
            && event.path_hex == other.path_hex
            && from(event) == from(other)
            && task(&event.task) == task(&other.task)
            && task(&event.by) == task(&other.by)
            && event.inferred == other.inferred
            && event.boot_id == other.boot_id
            && is_near(event, other)
            && !self.hierarchies.contains(hierarchy)
    }
}

fn is_near(event: &Event, other: &Event) -> bool {
    event.boot_ns.abs_diff(other.boot_ns) <= TOGETHER_MS * 1_000_000
}

/// Collects events into changes.
#[derive(Debug, Default)]
pub struct Grouper {
    pending: VecDeque<Together>,
}

impl Grouper {
    /// Takes the next event, and returns the changes that are complete.
    pub fn push(&mut self, event: &Event) -> Vec<Together> {
        let mut complete = Vec::new();
        while self
            .pending
            .front()
            .is_some_and(|first| !is_near(&first.event, event) || self.pending.len() >= MAX_PENDING)
        {
            complete.extend(self.pending.pop_front());
        }
        match self.pending.iter_mut().rev().find(|change| change.includes(event)) {
            Some(change) => change.hierarchies.extend(event.hierarchy.clone()),
            None => self.pending.push_back(Together::of(event)),
        }
        complete
    }

    /// The changes so far, complete or not.
    pub fn take(&mut self) -> Vec<Together> {
        self.pending.drain(..).collect()
    }
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::EventKind;

    use super::*;

    fn event(kind: EventKind, path: &str, hierarchy: &str, ms: u64) -> Event {
        let by = Some(Task { pid: 1, comm: "systemd".to_owned(), ..Task::default() });
        Event {
            kind,
            path: Some(path.to_owned()),
            hierarchy: Some(hierarchy.to_owned()),
            boot_ns: ms * 1_000_000,
            by,
            ..Event::default()
        }
    }

    fn grouped(events: &[Event]) -> Vec<(String, Vec<String>)> {
        let mut grouper = Grouper::default();
        let mut changes: Vec<Together> = events.iter().flat_map(|event| grouper.push(event)).collect();
        changes.extend(grouper.take());
        let shown = |Together { event, hierarchies }: Together| {
            (format!("{} {}", event.kind, event.path.unwrap_or_default()), hierarchies)
        };
        changes.into_iter().map(shown).collect()
    }

    fn change(what: &str, hierarchies: &[&str]) -> (String, Vec<String>) {
        (what.to_owned(), hierarchies.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn one_change_on_several_hierarchies_is_one() {
        use EventKind::{Mkdir, Rmdir};
        let events = [
            event(Mkdir, "/a", "v2", 0),
            event(Mkdir, "/b", "v2", 1),
            event(Mkdir, "/a", "pids", 2),
            event(Rmdir, "/a", "v2", 3),
            event(Mkdir, "/b", "pids", 4),
        ];
        let expected = [
            change("mkdir /a", &["v2", "pids"]),
            change("mkdir /b", &["v2", "pids"]),
            change("rmdir /a", &["v2"]),
        ];
        assert_eq!(grouped(&events), expected);
    }

    #[test]
    fn what_happens_again_or_later_or_by_another_is_another() {
        use EventKind::Mkdir;
        let mut other = event(Mkdir, "/a", "cpu", 60);
        other.by = None;
        let events = [
            event(Mkdir, "/a", "v2", 0),
            event(Mkdir, "/a", "v2", 1),
            event(Mkdir, "/a", "pids", 2),
            event(Mkdir, "/a", "memory", 60),
            other,
        ];
        let expected = [
            change("mkdir /a", &["v2"]),
            change("mkdir /a", &["v2", "pids"]),
            change("mkdir /a", &["memory"]),
            change("mkdir /a", &["cpu"]),
        ];
        assert_eq!(grouped(&events), expected);
    }

    #[test]
    fn changes_are_complete_after_a_while() {
        let mut grouper = Grouper::default();
        assert_eq!(grouper.push(&event(EventKind::Mkdir, "/a", "v2", 0)), []);
        assert_eq!(grouper.push(&event(EventKind::Mkdir, "/b", "v2", 51)).len(), 1);
        assert_eq!(grouper.take().len(), 1);
    }
}
