//! `events`: prints events as they happen.

use cgtrace_client::{StreamItem, wire};

use super::{
    Outcome, arguments::Events, connect::Connector, failure::Failure, output::Output, path, stderr::print,
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
    let in_process = connected.in_process;
    let mut stream = connected.client.watch(&watch)?;
    let mut remaining = events.count;
    while let Some(item) = stream.next() {
        match item? {
            // No snapshot was requested.
            StreamItem::Existing(_) => {}
            StreamItem::Started { .. } => {
                if in_process && !output.json {
                    print("cgtrace: tracing in this process; press Ctrl-C to stop");
                }
            }
            StreamItem::Dropped(dropped) if output.json => {
                output.document(&wire::Dropped::Dropped { dropped })?;
            }
            StreamItem::Dropped(dropped) => output.line(text::dropped(dropped))?,
            StreamItem::Gap(gap) if output.json => output.document(&wire::GapLine::from(gap))?,
            StreamItem::Gap(gap) => output.line(text::gap(&gap))?,
            StreamItem::Event(event) => {
                if output.json {
                    output.document(&event)?;
                } else {
                    output.line(text::event(&event))?;
                }
                remaining = remaining.map(|remaining| remaining - 1);
            }
        }
        if remaining == Some(0) {
            return Ok(Outcome::Yes);
        }
        // Flush once no more events are buffered: low latency, and few writes in a burst.
        if !stream.has_more() {
            output.flush()?;
        }
    }
    Ok(Outcome::Yes)
}
