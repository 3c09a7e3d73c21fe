//! The trace event format in JSON, which ui.perfetto.dev and `trace_processor` open: one
//! process per hierarchy, one track per path, sorted as a tree; and one process with the gaps.

use std::collections::{BTreeMap, BTreeSet};

use cgtrace_client::wire::{self, EventKind, Gap, Timestamp};
use serde_json::{Value, json};

use super::Sink;
use crate::cli::{failure::Failure, past::Past, stderr::print, text};

/// A cgroup's track: its hierarchy and the components of its path, which sort as a tree.
type Track = (String, Vec<String>);

/// From a creation, or from when a cgroup is known to have existed, to its removal.
struct Slice {
    begin: Option<Timestamp>,
    end: Timestamp,
    arguments: Value,
}

/// A move or an exec.
struct Instant {
    track: Track,
    at: Timestamp,
    name: String,
    arguments: Value,
}

/// Everything that the trace shows.
#[derive(Default)]
struct Trace {
    slices: BTreeMap<Track, Vec<Slice>>,
    instants: Vec<Instant>,
    gaps: BTreeMap<String, Vec<Gap>>,
}

/// Writes the trace of a range of time.
pub fn write(
    past: &mut Past,
    since: Option<String>,
    until: Option<String>,
    sink: &mut Sink<'_>,
) -> Result<(), Failure> {
    let mut trace = Trace::default();
    let mut last = past.end();
    let log = wire::Log { since: since.clone(), until: until.clone(), ..wire::Log::default() };
    past.log(&log, &mut |item| {
        last = last.max(item.event.as_ref().map(wire::Event::at));
        trace.add_item(item);
        Ok(())
    })?;
    let removed = wire::Removed { since, until: until.clone(), ..wire::Removed::default() };
    for removed in past.removed(&removed)?.removed {
        trace.add_instance(&removed.hierarchy, &removed.instance, None);
    }
    // What still existed at the end ends with the trace.
    let last = last.unwrap_or_default();
    match past.list(&wire::List { at: until, ..wire::List::default() }) {
        Ok(existing) => existing.cgroups.into_iter().for_each(|cgroup| trace.add_existing(cgroup, last)),
        Err(Failure::NoAnswer(error)) => {
            print(format!("cgtrace: note: cgroups that existed at the end are left out: {error:#}"));
        }
        Err(failure) => return Err(failure),
    }
    trace.write(sink)
}

impl Trace {
    fn add_item(&mut self, item: wire::LogItem) {
        if let Some(gap) = item.gap {
            self.gaps.entry(gap.reason.clone()).or_default().push(gap);
        }
        let Some(event) = item.event else { return };
        if !matches!(event.kind, EventKind::Attach | EventKind::Transfer | EventKind::Exec) {
            return;
        }
        let task = event.task.as_ref().or(event.by.as_ref());
        // Of an exec, the cgroup on the default hierarchy is known with the process.
        let path = event.path.as_deref().or_else(|| task?.cgroup.as_deref());
        let hierarchy = event.hierarchy.as_deref().unwrap_or("v2");
        let name = task.map_or_else(
            || event.kind.to_string(),
            |task| format!("{} {}[{}]", event.kind, task.comm, task.pid),
        );
        self.instants.push(Instant {
            track: track(hierarchy, path),
            at: event.at(),
            name,
            arguments: json!({ "event": event }),
        });
    }

    fn add_instance(&mut self, hierarchy: &str, instance: &wire::Instance, until: Option<Timestamp>) {
        let Some(end) = instance.removed_at.or(until) else { return };
        let slice = Slice {
            begin: instance.created_at.or(instance.existed_at),
            end,
            arguments: json!({ "instance": instance }),
        };
        self.slices.entry(track(hierarchy, instance.path.as_deref())).or_default().push(slice);
    }

    fn add_existing(&mut self, cgroup: wire::Cgroup, end: Timestamp) {
        let instance = wire::Instance {
            id: cgroup.id,
            path: cgroup.path,
            path_hex: cgroup.path_hex,
            created_at: cgroup.created_at,
            existed_at: cgroup.existed_at,
            created_by: cgroup.created_by,
            ..wire::Instance::default()
        };
        self.add_instance(&cgroup.hierarchy, &instance, Some(end));
    }

    /// The earliest time: the trace's times count from there, because a double cannot hold ns since 1970.
    fn begin(&self) -> i128 {
        let slices = self.slices.values().flatten().map(|slice| slice.begin.unwrap_or(slice.end));
        let instants = self.instants.iter().map(|instant| instant.at);
        let gaps = self.gaps.values().flatten().map(|gap| gap.from.unwrap_or(gap.until));
        slices.chain(instants).chain(gaps).map(unix_ns).min().unwrap_or_default()
    }

    fn write(mut self, sink: &mut Sink<'_>) -> Result<(), Failure> {
        let begin = self.begin();
        let tracks: BTreeSet<Track> =
            self.slices.keys().cloned().chain(self.instants.iter().map(|at| at.track.clone())).collect();
        let hierarchies: BTreeSet<&String> = tracks.iter().map(|(hierarchy, _)| hierarchy).collect();
        // Processes and tracks are numbered from 1: 0 is the idle process.
        let processes: BTreeMap<&String, usize> = hierarchies.into_iter().zip(1..).collect();
        let numbers: BTreeMap<&Track, usize> = tracks.iter().zip(1..).collect();
        let mut events = Events { sink, begin, is_first: true };
        let began = Timestamp::from_unix_ns(begin, 0);
        events.sink.text("{\"displayTimeUnit\":\"ns\",\"otherData\":")?;
        events.sink.json(&json!({ "begin": began.to_string(), "version": env!("CARGO_PKG_VERSION") }))?;
        events.sink.text(",\"traceEvents\":[\n")?;
        for (hierarchy, process) in &processes {
            events.name_process(*process, &format!("cgroups: {}", text::escape(hierarchy)))?;
        }
        for (track, number) in &numbers {
            let process = processes.get(&track.0).copied().unwrap_or_default();
            let path = path_of(track);
            events.name_track(process, *number, &path)?;
            let slices = self.slices.remove(*track).unwrap_or_default();
            events.slices(process, *number, &path, slices)?;
        }
        for Instant { track, at, name, arguments } in self.instants {
            let process = processes.get(&track.0).copied().unwrap_or_default();
            let number = numbers.get(&track).copied().unwrap_or_default();
            events.write(&json!({
                "ph": "i", "s": "t", "cat": "task", "name": name, "pid": process, "tid": number,
                "ts": events.us(unix_ns(at)), "args": arguments,
            }))?;
        }
        let process = processes.len() + 1;
        if !self.gaps.is_empty() {
            events.name_process(process, "gaps")?;
        }
        for ((reason, gaps), number) in self.gaps.into_iter().zip(numbers.len() + 1..) {
            events.name_track(process, number, &reason)?;
            let slice = |gap: Gap| Slice {
                begin: Some(gap.from.unwrap_or(gap.until)),
                end: gap.until,
                arguments: json!({ "gap": gap, "text": gap.to_string() }),
            };
            events.slices(process, number, &reason, gaps.into_iter().map(slice).collect())?;
        }
        events.sink.text("\n]}\n")
    }
}

/// The array of the trace's events.
struct Events<'s, 'o> {
    sink: &'s mut Sink<'o>,
    begin: i128,
    is_first: bool,
}

impl Events<'_, '_> {
    fn write(&mut self, event: &Value) -> Result<(), Failure> {
        if !self.is_first {
            self.sink.text(",\n")?;
        }
        self.is_first = false;
        self.sink.json(event)
    }

    /// Us since the beginning of the trace.
    #[expect(clippy::cast_precision_loss, reason = "the format has doubles: exact to 1 ns for 104 days")]
    fn us(&self, unix_ns: i128) -> f64 {
        (unix_ns - self.begin).max(0) as f64 / 1_000.0
    }

    fn name_process(&mut self, process: usize, name: &str) -> Result<(), Failure> {
        let arguments = json!({ "name": name });
        self.write(&json!({ "ph": "M", "name": "process_name", "pid": process, "args": arguments }))?;
        let arguments = json!({ "sort_index": process });
        self.write(&json!({ "ph": "M", "name": "process_sort_index", "pid": process, "args": arguments }))
    }

    fn name_track(&mut self, process: usize, track: usize, name: &str) -> Result<(), Failure> {
        for (event, arguments) in
            [("thread_name", json!({ "name": name })), ("thread_sort_index", json!({ "sort_index": track }))]
        {
            self.write(&json!({
                "ph": "M", "name": event, "pid": process, "tid": track, "args": arguments,
            }))?;
        }
        Ok(())
    }

    /// The slices of one track. One that is not known to have begun later begins with the trace; none begins
    /// before the previous one has ended, as the format demands.
    fn slices(
        &mut self,
        process: usize,
        track: usize,
        name: &str,
        mut slices: Vec<Slice>,
    ) -> Result<(), Failure> {
        slices.sort_by_key(|slice| slice.end);
        let mut free = self.begin;
        for Slice { begin, end, arguments } in slices {
            let begin = begin.map_or(self.begin, unix_ns).max(free);
            let end = unix_ns(end).max(begin);
            free = end;
            let (from, to) = (self.us(begin), self.us(end));
            self.write(&json!({
                "ph": "X", "cat": "cgroup", "name": name, "pid": process, "tid": track,
                "ts": from, "dur": to - from, "args": arguments,
            }))?;
        }
        Ok(())
    }
}

fn track(hierarchy: &str, path: Option<&str>) -> Track {
    let path = path.unwrap_or("(unknown)");
    let components = path.split('/').filter(|component| !component.is_empty());
    (hierarchy.to_owned(), components.map(str::to_owned).collect())
}

fn path_of((_, components): &Track) -> String {
    match &components[..] {
        [unknown] if unknown == "(unknown)" => unknown.clone(),
        _ => format!("/{}", components.join("/")),
    }
}

fn unix_ns(at: Timestamp) -> i128 {
    use std::time::UNIX_EPOCH;
    match at.time.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).unwrap_or(i128::MAX),
        Err(before) => i128::try_from(before.duration().as_nanos()).map_or(i128::MIN, |ns| -ns),
    }
}
