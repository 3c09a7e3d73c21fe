//! The metrics in the `OpenMetrics` text format. They name no cgroup and no task.

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use cgtrace_history::{GapReason, State};
use prometheus_client::{
    encoding::text::encode as encode_registry,
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};

use super::meter::{Meter, label};
use crate::daemon::{
    index::Kind,
    probe::Probe,
    server::{encode::hierarchy_name, shared::Shared},
    tracker::Tracker,
};

/// The content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels<const N: usize> = [(&'static str, String); N];
type CounterFamily<const N: usize> = Family<Labels<N>, Counter>;
type GaugeFamily<const N: usize> = Family<Labels<N>, Gauge<f64, AtomicU64>>;

/// Encodes all metrics. Those of the index are up to date if [`Shared::settled`] has just returned.
pub fn encode(shared: &Shared) -> String {
    let mut registry = Registry::with_prefix("cgtrace");
    let tracker = shared.tracker.borrow();
    service(&mut registry, shared, &tracker);
    hierarchies(&mut registry, &tracker);
    events(&mut registry, &shared.meter);
    rings(&mut registry, &tracker);
    programs(&mut registry, &tracker);
    clients(&mut registry, shared);
    history(&mut registry, shared);
    let mut text = String::new();
    // Writing into a `String` does not fail.
    let _ = encode_registry(&mut text, &registry);
    text
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter: Counter = Counter::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and exact up to 2^53")]
fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge: Gauge<f64, AtomicU64> = Gauge::default();
    gauge.set(value as f64);
    registry.register(name, help, gauge);
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and exact up to 2^53")]
fn set<const N: usize>(gauges: &GaugeFamily<N>, labels: &Labels<N>, value: u64) {
    gauges.get_or_create(labels).set(value as f64);
}

fn service(registry: &mut Registry, shared: &Shared, tracker: &Tracker) {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let info = Info::new([("version", env!("CARGO_PKG_VERSION").to_owned()), ("kernel", kernel)]);
    registry.register("build", "Version of cgtrace and release of the running kernel", info);
    let started: Gauge<f64, AtomicU64> = Gauge::default();
    let started_ns = tracker.anchor().wall_ns(tracker.started_boot_ns());
    #[expect(clippy::cast_precision_loss, reason = "a time in seconds, exact to a microsecond")]
    started.set(started_ns as f64 / 1e9);
    registry.register_with_unit(
        "start_time",
        "Unix time when the BPF programs were attached",
        Unit::Seconds,
        started,
    );
    counter(registry, "events_sequence", "Sequence number of the last event", tracker.index().seq());
    counter(registry, "wakeups", "Wakeups of the daemon by the BPF programs", tracker.wakeup_count());
    let anomalies = tracker.index().anomalies().total() + tracker.undecodable();
    counter(
        registry,
        "anomalies",
        "Events and records that contradict the index or cannot be decoded",
        anomalies,
    );
    gauge(registry, "connections", "Open client connections", shared.connections() as u64);
}

fn hierarchies(registry: &mut Registry, tracker: &Tracker) {
    let (cgroups, scanned) = (GaugeFamily::default(), GaugeFamily::default());
    let (created, removed) = (CounterFamily::default(), CounterFamily::default());
    let resyncs = CounterFamily::default();
    for state in tracker.index().hierarchies() {
        let labels = [("hierarchy", hierarchy_name(&state))];
        set(&cgroups, &labels, state.cgroups as u64);
        set(&scanned, &labels, u64::from(state.scanned));
        created.get_or_create(&labels).inc_by(state.created);
        removed.get_or_create(&labels).inc_by(state.removed);
        resyncs.get_or_create(&labels).inc_by(state.resyncs);
    }
    registry.register("cgroups", "Existing cgroups", cgroups);
    registry.register(
        "hierarchy_scanned",
        "Whether the initial scan of the hierarchy is complete (1) or not (0)",
        scanned,
    );
    registry.register("cgroups_created", "Cgroups created", created);
    registry.register("cgroups_removed", "Cgroups removed", removed);
    registry.register("resyncs", "Scans that resynced a hierarchy after lost records", resyncs);
}

fn events(registry: &mut Registry, meter: &Meter) {
    let events = CounterFamily::default();
    for counts in meter.hierarchies.borrow().iter() {
        let name = label(counts.name.as_deref(), counts.number);
        for (kind, count) in Kind::EVENTS.into_iter().zip(counts.events) {
            if count > 0 {
                let labels = [("kind", kind.as_str().to_owned()), ("hierarchy", name.clone())];
                events.get_or_create(&labels).inc_by(count);
            }
        }
    }
    for (kind, count) in Kind::EVENTS.into_iter().zip(*meter.no_hierarchy.borrow()) {
        if count > 0 {
            let labels = [("kind", kind.as_str().to_owned()), ("hierarchy", String::new())];
            events.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register("events", "Events, by kind and hierarchy", events);
    registry.register_with_unit(
        "cgroup_lifetime",
        "Lifetimes of cgroups whose creation and removal were both observed",
        Unit::Seconds,
        meter.lifetimes.clone(),
    );
}

fn rings(registry: &mut Registry, tracker: &Tracker) {
    let (used, size) = (GaugeFamily::default(), GaugeFamily::default());
    let (records, lost) = (CounterFamily::default(), CounterFamily::default());
    let lost_records = tracker.lost_records();
    let names: BTreeMap<u32, String> =
        tracker.index().hierarchies().map(|state| (state.id.0, hierarchy_name(&state))).collect();
    for (ring, feeds_index) in tracker.probe().map(Probe::rings).into_iter().flatten().zip([true, false]) {
        let labels = [("ring", ring.name.to_owned())];
        set(&used, &labels, ring.used as u64);
        set(&size, &labels, ring.size as u64);
        records.get_or_create(&labels).inc_by(ring.consumed);
        let mut of_hierarchies: BTreeMap<&str, u64> = names.values().map(|name| (name.as_str(), 0)).collect();
        for (hierarchy, count) in lost_records.of_ring(feeds_index) {
            let name = hierarchy.and_then(|id| names.get(&id)).map_or("", String::as_str);
            *of_hierarchies.entry(name).or_default() += count;
        }
        for (hierarchy, count) in of_hierarchies {
            let labels = [("ring", ring.name.to_owned()), ("hierarchy", hierarchy.to_owned())];
            lost.get_or_create(&labels).inc_by(count);
        }
    }
    registry.register_with_unit("ring_used", "Bytes that wait in a ring", Unit::Bytes, used);
    registry.register_with_unit("ring_size", "Capacity of a ring", Unit::Bytes, size);
    registry.register("ring_records_read", "Records read from a ring", records);
    let help =
        "Records that a ring had no room for or that could not be read; an empty hierarchy means unknown";
    registry.register("lost_records", help, lost);
}

fn programs(registry: &mut Registry, tracker: &Tracker) {
    let (attached, missed, runs) =
        (GaugeFamily::default(), CounterFamily::default(), CounterFamily::default());
    let time = Family::<Labels<1>, Counter<f64, AtomicU64>>::default();
    for program in tracker.probe().map(Probe::programs).into_iter().flatten() {
        let labels = [("program", program.name.to_owned())];
        set(&attached, &labels, u64::from(program.attached));
        if program.attached {
            missed.get_or_create(&labels).inc_by(program.missed);
            runs.get_or_create(&labels).inc_by(program.run_count);
            time.get_or_create(&labels).inc_by(std::time::Duration::from_nanos(program.run_ns).as_secs_f64());
        }
    }
    registry.register("bpf_program_attached", "Whether a BPF program is attached (1) or not (0)", attached);
    registry.register("bpf_program_missed_runs", "Runs of a BPF program that the kernel skipped", missed);
    registry.register(
        "bpf_program_runs",
        "Runs of a BPF program, counted only while kernel.bpf_stats_enabled is set",
        runs,
    );
    registry.register_with_unit(
        "bpf_program_run",
        "Run time of a BPF program, counted only while kernel.bpf_stats_enabled is set",
        Unit::Seconds,
        time,
    );
}

fn clients(registry: &mut Registry, shared: &Shared) {
    gauge(registry, "waiters", "Wait calls in progress", shared.hub.waiters.borrow().len() as u64);
    gauge(registry, "subscriptions", "Watch calls in progress", shared.hub.subscriptions() as u64);
    let (mut total, mut longest) = (0, 0);
    for length in shared.hub.queue_lengths() {
        total += length;
        longest = longest.max(length);
    }
    gauge(registry, "subscriber_lag_events", "Length of the longest subscriber queue", longest);
    gauge(registry, "subscriber_queued_events", "Length of all subscriber queues together", total);
    let help = "Events dropped because the queue of a slow subscriber was full";
    counter(registry, "subscriber_dropped_events", help, shared.hub.dropped());
    gauge(
        registry,
        "unread_reply_bytes",
        "Size of replies that clients have not read yet",
        shared.unread_reply_bytes() as u64,
    );
    let durations = shared.meter.durations.clone();
    registry.register_with_unit(
        "request_duration",
        "Durations of requests, by method",
        Unit::Seconds,
        durations,
    );
}

fn history(registry: &mut Registry, shared: &Shared) {
    let State { bytes, segments, stored, missing, failure } = shared.history.state();
    let size = |registry: &mut Registry, name: &str, help: &str, value: u64| {
        let gauge = GaugeFamily::default();
        set(&gauge, &[], value);
        registry.register_with_unit(name, help, Unit::Bytes, gauge);
    };
    size(registry, "history_size", "Size of the history", bytes);
    size(registry, "history_limit", "Largest size of the history", shared.history.options().bytes());
    gauge(registry, "history_segments", "Segments of the history", segments);
    counter(registry, "history_events_stored", "Events stored in the history", stored);
    let events = CounterFamily::default();
    for (reason, missing) in GapReason::ALL.into_iter().zip(missing) {
        events.get_or_create(&[("reason", reason.as_str().to_owned())]).inc_by(missing);
    }
    registry.register("history_events_missing", "Events that could not be stored, by the reason", events);
    let help = "Whether writing the history fails (1) or not (0)";
    gauge(registry, "history_failing", help, u64::from(failure.is_some()));
}
