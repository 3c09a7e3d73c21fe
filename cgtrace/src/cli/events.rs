//! `events`: prints events as they happen, across restarts of the daemon.

use cgtrace_client::wire;
use cgtrace_paths::names_hierarchy;

use super::{
    Outcome,
    arguments::Events,
    connect::{Connected, Connector, Source},
    failure::Failure,
    hierarchy::of_option,
    live::{Live, Selection},
    output::Output,
    path,
    printer::Printer,
    stderr::print,
};

pub fn run(events: &Events, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let watch = wire::Watch {
        patterns: path::patterns(&events.patterns),
        kinds: events.kinds.to_wire(),
        hierarchy: of_option(&events.hierarchy),
        since_seq: events.since_seq,
        snapshot: events.snapshot.then_some(true),
        ..wire::Watch::default()
    };
    let Connected { mut client, source } = connector.connect()?;
    let in_process = source == Source::ThisProcess;
    // JSON has events and gaps only.
    let header = if output.json { None } else { Some(header(&client.status()?, events, in_process)) };
    let live = if in_process {
        Live::InProcess(Box::new(client.watch(&watch)?))
    } else {
        drop(client);
        Live::of_daemon(connector.endpoint(), watch)?
    };
    let selection = Selection { count: events.count, by: None };
    let mut printer = Printer::new(output, events.layout);
    live.print(&selection, &mut printer, || header.iter().for_each(print))
}

/// `cgtrace: watching 7 hierarchies (lifecycle events; --all for every kind)`
fn header(status: &wire::Status, events: &Events, in_process: bool) -> String {
    let selected = |name: &str| events.hierarchy.name.as_ref().is_none_or(|word| names_hierarchy(word, name));
    let count = status.hierarchies.iter().filter(|hierarchy| selected(&hierarchy.hierarchy)).count();
    let hierarchies = if count == 1 { "1 hierarchy".to_owned() } else { format!("{count} hierarchies") };
    let how = if in_process {
        " in this process, without a daemon; Ctrl-C stops"
    } else if events.kinds.is_default() {
        " (lifecycle events; --all for every kind)"
    } else {
        ""
    };
    format!("cgtrace: watching {hierarchies}{how}")
}
