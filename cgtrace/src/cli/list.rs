//! `list`: lists cgroups, those of now, of a time in the past, or those that were removed.

use cgtrace_client::wire;

use super::{
    Outcome, arguments::List, connect::Connector, empty::only_empty, failure::Failure, hierarchy::of_options,
    output::Output, past::Past, path, stderr::print, text, text::Clock, when::When,
};

const PATTERNS: &str = "patterns match whole paths: use `/**/NAME` to find NAME at any depth";

pub fn run(list: &List, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let history = list.history.folder.as_deref();
    if list.removed {
        return removed(list, &mut Past::open(history, connector)?, output);
    }
    let mut past = Past::open_at(history, list.at.time, connector)?;
    let call = wire::List {
        patterns: path::patterns(&list.patterns),
        hierarchy: of_options(&list.hierarchy, &list.history),
        at: list.at.time.map(When::to_wire),
    };
    let mut reply = past.list(&call)?;
    print_state(&past, call.at.is_some(), &reply);
    if list.empty {
        let (empty, notes) = only_empty(reply.cgroups)?;
        reply.cgroups = empty;
        for note in notes {
            print(format!("cgtrace: note: {}", text::escape(&note)));
        }
    }
    let width = output.row_width(list.layout.wide.given);
    output.result(&past.source().answer(&reply), || {
        text::list(&reply.cgroups, &Clock::new(list.layout.utc), width)
    })?;
    if !output.json && reply.cgroups.is_empty() {
        let none = if list.empty { "no empty cgroup matches" } else { "no cgroup matches" };
        print(format!("cgtrace: {none}; {PATTERNS}"));
    }
    Ok(if reply.cgroups.is_empty() { Outcome::No } else { Outcome::Yes })
}

/// Prints notes about a list that is not the state of now.
pub fn print_state(past: &Past, has_time: bool, reply: &wire::ListReply) {
    if let Some(end) = past.end().filter(|_| !has_time) {
        print(at_end(&end));
    }
    for uid in reply.incomplete_for.iter().flatten() {
        print(format!(
            "cgtrace: note: cgroups of uid {uid} may be missing: its events exceeded its share of the history"
        ));
    }
}

/// The note about an answer from a folder without a time.
pub fn at_end(end: &wire::Timestamp) -> String {
    format!("cgtrace: note: the state at the end of the stored history, {}", text::timestamp(end))
}

fn removed(list: &List, past: &mut Past, output: &mut Output) -> Result<Outcome, Failure> {
    let call = wire::Removed {
        patterns: path::patterns(&list.patterns),
        hierarchy: of_options(&list.hierarchy, &list.history),
        since: list.since.map(When::to_wire),
        until: list.until.map(When::to_wire),
        max: None,
    };
    let reply = past.removed(&call)?;
    if output.json {
        output.document(&reply)?;
    } else {
        output.paragraphs(text::removed(&reply.removed))?;
    }
    if !output.json && reply.removed.is_empty() {
        let since = reply.complete_since.map_or_else(
            || "nothing is stored".to_owned(),
            |since| format!("the history is complete since {}", text::timestamp(&since)),
        );
        print(format!("cgtrace: no removed cgroup matches; {since}; {PATTERNS}"));
    }
    Ok(if reply.removed.is_empty() { Outcome::No } else { Outcome::Yes })
}
