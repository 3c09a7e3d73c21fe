//! `exists`: one line a hierarchy, and the exit code.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use cgtrace_client::{Client, names, wire};

use super::{Verdict, arguments::Exists, connect::Connector, failure::Failure, name, output::Output, text};

pub fn run(exists: &Exists, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let lookup = wire::Lookup {
        names: vec![name::to_wire(&exists.name)?],
        hierarchy: exists.on.hierarchy.clone(),
        ..wire::Lookup::default()
    };
    let mut client = connector.connect()?.client;
    let answer = client.lookup(&lookup)?.answers.into_iter().next().unwrap_or_default();
    if exists.quiet {
        // The exit code says it all.
    } else if output.json {
        output.document(&answer)?;
    } else {
        for line in text::rows(&answer) {
            output.line(line)?;
        }
        if !answer.present
            && let Some(hint) = without_mount(&mut client, &exists.name)
        {
            anstream::eprintln!("cgtrace: names are told from the hierarchy's root; did you mean {hint}?");
        }
    }
    Ok(if answer.present { Verdict::Yes } else { Verdict::No })
}

/// The name without the mount point that somebody copied along with it, if that name exists.
fn without_mount(client: &mut Client, name: &OsStr) -> Option<String> {
    let status = client.status().ok()?;
    let mounts = status.hierarchies.iter().filter_map(|hierarchy| hierarchy.mount.as_deref());
    let mut candidates: Vec<&[u8]> = mounts
        .filter_map(|mount| name.as_bytes().strip_prefix(mount.as_bytes()))
        .filter(|rest| rest.starts_with(b"/"))
        .collect();
    candidates.sort_by_key(|rest| rest.len());
    for rest in candidates {
        let Ok(rest) = names::normal(rest) else { continue };
        if client.exists(&names::to_wire(&rest)).unwrap_or(false) {
            return Some(names::printable(&rest));
        }
    }
    None
}
