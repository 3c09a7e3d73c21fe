//! `status`: what is known since when, and how well the tracer keeps up.

use cgtrace_client::wire::Status;

use super::{Verdict, connect::Connector, failure::Failure, output::Output, text};

pub fn run(connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let connected = connector.connect()?;
    let mut client = connected.client;
    let status = client.status()?;
    output.answer(&status, || lines(&status, connected.in_process))?;
    Ok(Verdict::Yes)
}

fn lines(status: &Status, in_process: bool) -> Vec<String> {
    let whose = if in_process { "in this process, there is no daemon" } else { "daemon" };
    let mut lines = vec![
        format!("cgtrace {} (pid {}, {whose}) on Linux {}", status.version, status.pid, status.kernel),
        format!("knows since {}; last event is number {}", text::moment(&status.started), status.seq),
        format!(
            "{} connections, {} waiting, {} following; {} wakeups; {} resyncs; {} anomalies",
            status.connections,
            status.waiters,
            status.subscriptions,
            status.wakeups,
            status.resyncs,
            status.anomalies
        ),
        String::new(),
    ];
    let mut hierarchies =
        text::Table::new(&["hierarchy", "id", "cgroups", "made", "removed", "lost", "resyncs", "mount"]);
    for hierarchy in &status.hierarchies {
        let place = match (&hierarchy.mount, &hierarchy.note) {
            (None, _) => "not mounted here".to_owned(),
            (Some(mount), None) => text::escape(mount),
            (Some(mount), Some(note)) => text::escape(&format!("{mount} ({note})")),
        };
        hierarchies.row([
            text::escape(&hierarchy.hierarchy),
            hierarchy.hierarchy_id.to_string(),
            hierarchy.cgroups.to_string(),
            hierarchy.created.to_string(),
            hierarchy.removed.to_string(),
            hierarchy.lost.to_string(),
            hierarchy.resyncs.to_string(),
            place,
        ]);
    }
    lines.extend(hierarchies.lines());
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
    lines.extend(rings.lines());
    lines.push(String::new());
    let (attached, left_out): (Vec<_>, Vec<_>) = status.programs.iter().partition(|program| program.attached);
    lines.push(format!("{} hooks attached", attached.len()));
    for program in left_out {
        let note = program.note.as_deref().unwrap_or("no reason given");
        lines.push(format!("left out: {}: {}", program.name, text::escape(note)));
    }
    for program in attached.iter().filter(|program| program.missed.unwrap_or(0) > 0) {
        lines.push(format!("{} was skipped {} times", program.name, program.missed.unwrap_or(0)));
    }
    lines
}
