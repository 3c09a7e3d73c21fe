//! `events`: what happens, as it happens.

use cgtrace_client::{StreamItem, wire};

use super::{
    Verdict, arguments::Events, connect::Connector, failure::Failure, name, output::Output, stderr::print,
    text,
};

pub fn run(events: &Events, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let watch = wire::Watch {
        patterns: name::patterns(&events.patterns),
        kinds: (!events.kinds.is_empty()).then(|| events.kinds.clone()),
        hierarchy: events.on.hierarchy.clone(),
        since_seq: events.since_seq,
        ..wire::Watch::default()
    };
    let connected = connector.connect()?;
    let in_process = connected.in_process;
    let mut watching = connected.client.watch(&watch)?;
    let mut left = events.count;
    while let Some(watched) = watching.next() {
        match watched? {
            // No snapshot was asked for.
            StreamItem::Existing(_) => {}
            StreamItem::Started { .. } => {
                if in_process && !output.json {
                    print("cgtrace: tracing in this process; Ctrl-C ends it");
                }
            }
            StreamItem::Dropped(dropped) if output.json => {
                output.document(&wire::Dropped::Dropped { dropped })?;
            }
            StreamItem::Dropped(dropped) => output.line(text::dropped(dropped))?,
            StreamItem::Event(event) => {
                if output.json {
                    output.document(&event)?;
                } else {
                    output.line(text::event(&event))?;
                }
                left = left.map(|left| left - 1);
            }
        }
        if left == Some(0) {
            return Ok(Verdict::Yes);
        }
        // Whoever reads us sees each event at once; a crowd of them is written together.
        if !watching.has_more() {
            output.flush()?;
        }
    }
    Ok(Verdict::Yes)
}
