//! `status`: the state of the tracer.

use cgtrace_client::wire::{HistoryStatus, MissingEvents, Status};

use super::{
    Outcome,
    connect::{Connector, Source},
    failure::Failure,
    output::Output,
    text,
};

pub fn run(connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let connected = connector.connect()?;
    let mut client = connected.client;
    let status = client.status()?;
    if output.json {
        output.document(&status)?;
    } else {
        let width = output.row_width(false);
        output.paragraphs(lines(&status, connected.source, width))?;
    }
    Ok(Outcome::Yes)
}

fn lines(status: &Status, source: Source, width: Option<usize>) -> Vec<String> {
    let role = if source == Source::Daemon { "daemon" } else { "no daemon, tracing in this process" };
    let mut lines = vec![
        format!("cgtrace {} (pid {}, {role}) on Linux {}", status.version, status.pid, status.kernel),
        format!("observing since {}; last event: seq {}", text::timestamp(&status.started), status.seq),
        format!(
            "{} connections, {} waiters, {} subscriptions; {} wakeups; {} resyncs; {} anomalies",
            status.connections,
            status.waiters,
            status.subscriptions,
            status.wakeups,
            status.resyncs,
            status.anomalies
        ),
    ];
    lines.extend(history(&status.history));
    lines.push(String::new());
    let mut hierarchies =
        text::Table::new(&["hierarchy", "cgroups", "created", "removed", "lost", "resyncs", "mount"]);
    for hierarchy in &status.hierarchies {
        let mount = match (&hierarchy.mount, &hierarchy.note) {
            (None, _) => "not mounted".to_owned(),
            (Some(mount), None) => text::escape(mount),
            (Some(mount), Some(note)) => text::escape(&format!("{mount} ({note})")),
        };
        hierarchies.row([
            text::escape(&hierarchy.hierarchy),
            hierarchy.cgroups.to_string(),
            hierarchy.created.to_string(),
            hierarchy.removed.to_string(),
            hierarchy.lost.to_string(),
            hierarchy.resyncs.to_string(),
            mount,
        ]);
    }
    lines.extend(hierarchies.lines(width));
    lines.push(String::new());
    let mut rings = text::Table::new(&["ring", "records", "lost", "used", "size"]);
    for ring in &status.rings {
        rings.row([
            ring.name.clone(),
            ring.records.to_string(),
            ring.lost.to_string(),
            text::size(ring.used),
            text::size(ring.size),
        ]);
    }
    lines.extend(rings.lines(width));
    lines.push(String::new());
    let (attached, skipped): (Vec<_>, Vec<_>) = status.programs.iter().partition(|program| program.attached);
    lines.push(format!("{} BPF programs attached", attached.len()));
    for program in skipped {
        let note = program.note.as_deref().unwrap_or("no reason given");
        lines.push(format!("not attached: {}: {}", program.name, text::escape(note)));
    }
    for program in attached.iter().filter(|program| program.missed.unwrap_or(0) > 0) {
        lines.push(format!("{}: {} runs missed", program.name, program.missed.unwrap_or(0)));
    }
    lines
}

/// Where the history is, since when nothing is missing, and what could not be stored.
fn history(history: &HistoryStatus) -> Vec<String> {
    let place = history.folder.as_deref().map_or_else(|| "in memory".to_owned(), text::escape);
    let since =
        history.complete_since.as_ref().map(|since| format!(", complete since {}", text::timestamp(since)));
    let mut lines = vec![format!(
        "history {place}: {} of {}, {} days at most{}",
        text::size(history.bytes),
        text::size(history.max_bytes),
        history.max_days,
        since.unwrap_or_default()
    )];
    for MissingEvents { reason, events } in &history.missing {
        lines.push(format!("history: {events} events are missing ({reason}); see the gaps in `cgtrace log`"));
    }
    if let Some(failure) = &history.failure {
        lines.push(format!("history: nothing is stored now: {}", text::escape(failure)));
    }
    lines
}
