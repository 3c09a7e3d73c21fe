//! `show`: a cgroup's life.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use anyhow::anyhow;
use cgtrace_client::{names, wire};

use super::{Verdict, arguments::Show, connect::Connector, failure::Failure, name, output::Output, text};

pub fn run(show: &Show, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let id = show.name.as_deref().and_then(id_of);
    let names = match &show.name {
        Some(name) if id.is_none() => vec![name::to_wire(name)?],
        _ => Vec::new(),
    };
    let lookup = wire::Lookup {
        names,
        ids: id.map(|id| vec![id]),
        pid: show.pid,
        hierarchy: show.on.hierarchy.clone(),
        detail: Some(true),
    };
    let looked_up = connector.connect()?.client.lookup(&lookup)?;
    let known = looked_up
        .answers
        .iter()
        .any(|answer| answer.present || answer.rows.iter().any(|row| !row.past.is_empty()));
    if output.json {
        output.document(&looked_up)?;
        return Ok(if known { Verdict::Yes } else { Verdict::No });
    }
    if !known {
        return Err(Failure::Unknown(unknown(show, &looked_up)));
    }
    for (number, answer) in looked_up.answers.iter().enumerate() {
        if number > 0 {
            output.line("")?;
        }
        for line in text::life(answer) {
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
fn unknown(show: &Show, looked_up: &wire::LookedUp) -> anyhow::Error {
    let what = match (&show.name, show.pid) {
        (Some(name), _) => format!("`{}`", names::printable(name.as_bytes())),
        (None, Some(pid)) => format!("a cgroup of process {pid}"),
        (None, None) => "it".to_owned(),
    };
    let since = looked_up
        .answers
        .iter()
        .flat_map(|answer| &answer.rows)
        .map(|row| &row.known_since)
        .max_by_key(|since| since.boot_ns);
    match since {
        Some(since) => anyhow!("{what} does not exist, and never did since {}", text::moment(since)),
        None => anyhow!("{what} does not exist, and no former life of it is known"),
    }
}
