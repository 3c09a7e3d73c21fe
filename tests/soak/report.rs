//! The result of the soak, as a table and as JSON.

use serde_json::{Value, json};

use super::stage::Stage;

/// Measurements besides the counts.
#[derive(Debug, Default)]
pub struct Measured {
    pub seconds: u64,
    pub seed: u64,
    pub hierarchies: Vec<String>,
    pub pinned_starts: u64,
    pub starts: u64,
    /// Bytes: the maximum of the second and of the last quarter of the time without a restart.
    pub memory: (u64, u64),
    /// Of a fresh daemon and of the one that ran to the end, both without clients.
    pub descriptors: (usize, usize),
    pub lost: u64,
    pub resyncs: u64,
    pub stressor: String,
}

pub fn json(measured: &Measured, stage: &Stage) -> Value {
    let counts = &stage.counts;
    json!({
        "kernel": rustix::system::uname().release().to_string_lossy(),
        "seconds": measured.seconds,
        "seed": measured.seed,
        "hierarchies": measured.hierarchies,
        "stress_ng": measured.stressor,
        "changes": counts.changes.get(),
        "moves": counts.moves.get(),
        "mounts": counts.mounts.get(),
        "stops": counts.stops.get(),
        "kills": counts.kills.get(),
        "terms": counts.terms.get(),
        "starts": measured.starts,
        "pinned_starts": measured.pinned_starts,
        "verified_equal": counts.verified.get(),
        "waits_answered": counts.waits_reached.get(),
        "waits_cut_by_a_restart": counts.waits_cut.get(),
        "queries_answered": counts.queries.get(),
        "events_followed": counts.events.get(),
        "events_dropped_for_slow_followers": counts.dropped.get(),
        "lost_by_the_last_daemon": measured.lost,
        "resyncs_of_the_last_daemon": measured.resyncs,
        "memory_bytes": {"second_quarter": measured.memory.0, "last_quarter": measured.memory.1},
        "descriptors": {"fresh": measured.descriptors.0, "at_the_end": measured.descriptors.1},
        "failures": stage.failures(),
    })
}

/// Two columns, in Markdown.
pub fn table(report: &Value) -> String {
    let mut rows = vec![("what".to_owned(), "value".to_owned())];
    for (key, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::Object(parts) => {
                rows.extend(parts.iter().map(|(part, value)| (format!("{key}: {part}"), text(value))));
            }
            value => rows.push((key.clone(), text(value))),
        }
    }
    let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let mut table = String::new();
    for (number, (key, value)) in rows.iter().enumerate() {
        table += &format!("| {:width$} | {value} |\n", key.replace('_', " "));
        if number == 0 {
            table += &format!("|{:-<1$}|---|\n", "", width + 2);
        }
    }
    table
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
