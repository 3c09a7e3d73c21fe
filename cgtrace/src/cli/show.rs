//! `show`: one cgroup in detail.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use anyhow::anyhow;
use cgtrace_client::{Client, paths, wire};
use cgtrace_why::{CgroupSelector, Resolved, Resolver, ShowReport};

use super::{
    Outcome,
    arguments::Show,
    connect::{Connected, Connector},
    failure::Failure,
    hierarchy::of_option,
    list::at_end,
    output::Output,
    past::Past,
    path,
    stderr::print,
    text,
    text::Ages,
    when::When,
};

pub fn run(show: &Show, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let selector = match (&show.path, show.pid) {
        (Some(path), _) => match parse_id(path) {
            Some(id) => CgroupSelector::Id(id),
            None => CgroupSelector::Path(path.as_bytes().to_vec()),
        },
        (None, Some(pid)) => CgroupSelector::Process(pid),
        (None, None) => return Err(Failure::Usage(anyhow!("nothing to show; give a path, an ID, or --pid"))),
    };
    let (shown, ages, source) = if show.at.time.is_some() || show.history.folder.is_some() {
        let mut past = Past::open(show.history.folder.as_deref(), connector)?;
        (of_past(&mut past, show, &selector)?, Ages::Hidden, past.source())
    } else {
        let Connected { mut client, source } = connector.connect_for_present(false)?;
        (of_now(&mut client, show, &selector)?, Ages::Shown, source)
    };
    let known = shown
        .results
        .iter()
        .any(|result| result.present || result.hierarchies.iter().any(|on| !on.previous.is_empty()));
    if output.json {
        output.document(&source.answer(&shown))?;
        return Ok(if known { Outcome::Yes } else { Outcome::No });
    }
    for note in &shown.notes {
        print(format!("cgtrace: note: {}", text::escape(note)));
    }
    if !known {
        return Err(Failure::NotFound(not_found(show, &shown)));
    }
    output.paragraphs(shown.resolution.as_ref().map(text::resolution))?;
    for (number, result) in shown.results.iter().enumerate() {
        if number > 0 {
            output.line("")?;
        }
        output.paragraphs(text::details(result, &shown.members, ages))?;
    }
    Ok(Outcome::Yes)
}

/// The state of now. A path may be a name, which is resolved.
fn of_now(client: &mut Client, show: &Show, selector: &CgroupSelector) -> Result<ShowReport, Failure> {
    let hierarchy = of_option(&show.hierarchy);
    let CgroupSelector::Path(text) = selector else {
        return Ok(cgtrace_why::show(client, selector, hierarchy.as_deref())?);
    };
    let Resolved { path, hierarchy: named, resolution } =
        Resolver::new(hierarchy.as_deref()).one(client, text)?;
    let hierarchy = hierarchy.or(named);
    let shown = cgtrace_why::show(client, &CgroupSelector::Path(path), hierarchy.as_deref())?;
    Ok(ShowReport { resolution, ..shown })
}

/// The state at a time, or at the end of a stored history. The members of that time are unknown.
fn of_past(past: &mut Past, show: &Show, selector: &CgroupSelector) -> Result<ShowReport, Failure> {
    let mut lookup = wire::Lookup {
        hierarchy: show.hierarchy.name.clone(),
        at: show.at.time.map(When::to_wire),
        ..wire::Lookup::default()
    };
    match (selector, &show.path) {
        (CgroupSelector::Id(id), _) => lookup.ids = Some(vec![*id]),
        (_, Some(path)) => lookup.paths = vec![path::to_wire(path)?],
        (_, None) => return Err(Failure::Usage(anyhow!("the cgroups of a process are known for now alone"))),
    }
    if let Some(end) = past.end().filter(|_| lookup.at.is_none()) {
        print(at_end(&end));
    }
    let wire::LookupReply { seq, mut results } = past.lookup(&lookup)?;
    if results.iter().all(|result| result.hierarchies.is_empty())
        && let (Some(result), Some(since)) = (results.first_mut(), past.complete_since()?)
    {
        // For the message: since when it would have been recorded.
        result
            .hierarchies
            .push(wire::HierarchyResult { observed_since: since, ..wire::HierarchyResult::default() });
    }
    Ok(ShowReport { seq, results, ..ShowReport::default() })
}

/// A path begins with `/`; a number is a cgroup ID.
fn parse_id(text: &OsStr) -> Option<u64> {
    std::str::from_utf8(text.as_bytes()).ok()?.parse().ok()
}

/// The error for an unknown cgroup, with the time since when it would have been recorded.
fn not_found(show: &Show, shown: &ShowReport) -> anyhow::Error {
    let target = match (&show.path, show.pid) {
        _ if shown.resolution.is_some() => {
            let resolution = shown.resolution.as_ref();
            format!("`{}`", resolution.map(|resolution| text::escape(&resolution.path)).unwrap_or_default())
        }
        (Some(path), _) => format!("`{}`", paths::escape(path.as_bytes())),
        (None, Some(pid)) => format!("the cgroup of process {pid}"),
        (None, None) => "the cgroup".to_owned(),
    };
    if show.at.time.is_some() {
        // The state of that time is known; nothing is claimed about any other.
        return anyhow!("{target} did not exist then; its events: cgtrace log PATH");
    }
    let since = shown
        .results
        .iter()
        .flat_map(|result| &result.hierarchies)
        .map(wire::HierarchyResult::horizon)
        .max_by_key(|since| since.boot_ns);
    match since {
        Some(since) => {
            anyhow!("{target} does not exist and has not been seen since {}", text::timestamp(since))
        }
        None => anyhow!("{target} does not exist and no previous instance is known"),
    }
}
