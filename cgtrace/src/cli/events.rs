//! `events`: prints events as they happen, across restarts of the daemon.

use std::time::Duration;

use cgtrace_client::{EventStream, ResilientItem, ResilientStream, StreamItem, wire};

use super::{
    Outcome,
    arguments::Events,
    connect::{Connector, Source},
    failure::Failure,
    output::Output,
    path,
    stderr::print,
    text,
};

pub fn run(events: &Events, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let watch = wire::Watch {
        patterns: path::patterns(&events.patterns),
        kinds: (!events.kinds.is_empty()).then(|| events.kinds.clone()),
        hierarchy: events.hierarchy.name.clone(),
        since_seq: events.since_seq,
        ..wire::Watch::default()
    };
    let connected = connector.connect()?;
    if connected.source == Source::ThisProcess {
        in_this_process(connected.client.watch(&watch)?, events.count, output)
    } else {
        of_daemon(watch, events.count, connector, output)
    }
}

/// The events of the tracer in this process, which ends with it.
fn in_this_process(
    mut stream: EventStream,
    mut remaining: Option<u64>,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    while let Some(item) = stream.next() {
        match item? {
            // No snapshot was requested.
            StreamItem::Existing(_) => {}
            StreamItem::Started { .. } => {
                if !output.json {
                    print("cgtrace: tracing in this process; press Ctrl-C to stop");
                }
            }
            StreamItem::Dropped(dropped) => print_dropped(dropped, output)?,
            StreamItem::Gap(gap) => print_gap(gap, output)?,
            StreamItem::Event(event) => {
                print_event(&event, output)?;
                remaining = remaining.map(|remaining| remaining - 1);
            }
        }
        if remaining == Some(0) {
            break;
        }
        // Flush once no more events are buffered: low latency, and few writes in a burst.
        if !stream.has_more() {
            output.flush()?;
        }
    }
    Ok(Outcome::Yes)
}

/// How long the daemon may be away before a note says so. A restart takes less.
const NOTE_AFTER: Duration = Duration::from_secs(2);

/// The events of the daemon, across its restarts.
fn of_daemon(
    watch: wire::Watch,
    mut remaining: Option<u64>,
    connector: &Connector,
    output: &mut Output,
) -> Result<Outcome, Failure> {
    let mut stream = ResilientStream::start_at(connector.endpoint(), watch, None)?.retry_for(NOTE_AFTER);
    while let Some(item) = stream.next() {
        match item {
            Err(error) if error.is_transient() => {
                output.flush()?;
                print(format!("cgtrace: the connection to the daemon was lost ({error}); reconnecting"));
                stream = stream.retry_for(Duration::MAX);
                continue;
            }
            Err(error) => return Err(error.into()),
            Ok(ResilientItem::Started { .. }) => {}
            Ok(ResilientItem::Resumed { .. }) => {
                print("cgtrace: reconnected to the daemon");
                stream = stream.retry_for(NOTE_AFTER);
            }
            Ok(ResilientItem::Restarted { instance, .. }) => {
                print(format!("cgtrace: the daemon was restarted, now pid {}; reconnected", instance.pid));
                stream = stream.retry_for(NOTE_AFTER);
            }
            Ok(ResilientItem::Dropped(dropped)) => print_dropped(dropped, output)?,
            Ok(ResilientItem::Gap(gap)) => print_gap(gap, output)?,
            Ok(ResilientItem::Event(event)) => {
                print_event(&event, output)?;
                remaining = remaining.map(|remaining| remaining - 1);
            }
        }
        if remaining == Some(0) {
            break;
        }
        if !stream.has_more() {
            output.flush()?;
        }
    }
    Ok(Outcome::Yes)
}

fn print_event(event: &wire::Event, output: &mut Output) -> Result<(), Failure> {
    if output.json { output.document(event) } else { output.line(text::event(event)) }
}

fn print_gap(gap: wire::Gap, output: &mut Output) -> Result<(), Failure> {
    if output.json { output.document(&wire::GapLine::from(gap)) } else { output.line(text::gap(&gap)) }
}

fn print_dropped(dropped: u64, output: &mut Output) -> Result<(), Failure> {
    if output.json {
        output.document(&wire::Dropped::Dropped { dropped })
    } else {
        output.line(text::dropped(dropped))
    }
}
