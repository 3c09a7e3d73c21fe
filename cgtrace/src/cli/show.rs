//! `show`: a cgroup's instance.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use anyhow::anyhow;
use cgtrace_client::paths;
use cgtrace_why::{Selector, Shown};

use super::{
    Verdict, arguments::Show, connect::Connector, failure::Failure, output::Output, stderr::print, text,
};

pub fn run(show: &Show, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let selector = match (&show.name, show.pid) {
        (Some(name), _) => match id_of(name) {
            Some(id) => Selector::Id(id),
            None => Selector::Path(name.as_bytes().to_vec()),
        },
        (None, Some(pid)) => Selector::Process(pid),
        (None, None) => return Err(Failure::Usage(anyhow!("nothing to show; give a path, an id, or --pid"))),
    };
    let mut client = connector.connect()?.client;
    let shown = cgtrace_why::show(&mut client, &selector, show.on.hierarchy.as_deref())?;
    let known = shown
        .results
        .iter()
        .any(|answer| answer.present || answer.hierarchies.iter().any(|row| !row.previous.is_empty()));
    if output.json {
        output.document(&shown)?;
        return Ok(if known { Verdict::Yes } else { Verdict::No });
    }
    for note in &shown.notes {
        print(format!("cgtrace: note: {}", text::escape(note)));
    }
    if !known {
        return Err(Failure::Unknown(unknown(show, &shown)));
    }
    for (number, answer) in shown.results.iter().enumerate() {
        if number > 0 {
            output.line("")?;
        }
        for line in text::instance(answer, &shown.members) {
            output.line(line)?;
        }
    }
    Ok(Verdict::Yes)
}

/// A name begins with `/`; what is a number is an id.
fn id_of(name: &OsStr) -> Option<u64> {
    std::str::from_utf8(name.as_bytes()).ok()?.parse().ok()
}

/// What was asked for is not known, and since when it would be.
fn unknown(show: &Show, shown: &Shown) -> anyhow::Error {
    let what = match (&show.name, show.pid) {
        (Some(name), _) => format!("`{}`", paths::escape(name.as_bytes())),
        (None, Some(pid)) => format!("a cgroup of process {pid}"),
        (None, None) => "it".to_owned(),
    };
    let since = shown
        .results
        .iter()
        .flat_map(|answer| &answer.hierarchies)
        .map(|row| &row.observed_since)
        .max_by_key(|since| since.boot_ns);
    match since {
        Some(since) => anyhow!("{what} does not exist, and never did since {}", text::moment(since)),
        None => anyhow!("{what} does not exist, and no former instance of it is known"),
    }
}
