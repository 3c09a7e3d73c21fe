//! `exists`: one line a hierarchy, and the exit code.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use cgtrace_client::{Client, paths, wire};

use cgtrace_paths::{MountPoint, ParsedPath};

use super::{
    Verdict, arguments::Exists, connect::Connector, failure::Failure, name, output::Output, stderr::print,
    text,
};

pub fn run(exists: &Exists, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let lookup = wire::Lookup {
        paths: vec![name::to_wire(&exists.name)?],
        hierarchy: exists.on.hierarchy.clone(),
        ..wire::Lookup::default()
    };
    let mut client = connector.connect()?.client;
    let answer = client.lookup_with(&lookup)?.results.into_iter().next().unwrap_or_default();
    if exists.quiet {
        // The exit code says it all.
    } else if output.json {
        output.document(&answer)?;
    } else {
        for line in text::results(&answer) {
            output.line(line)?;
        }
        if !answer.present
            && let Some(hint) = without_mount(&mut client, &exists.name)
        {
            print(format!("cgtrace: names are told from the hierarchy's root; did you mean {hint}?"));
        }
    }
    Ok(if answer.present { Verdict::Yes } else { Verdict::No })
}

/// The name without the mount point that somebody copied along with it, if that name exists.
fn without_mount(client: &mut Client, name: &OsStr) -> Option<String> {
    let status = client.status().ok()?;
    let mounts: Vec<MountPoint> = status
        .hierarchies
        .into_iter()
        .filter_map(|hierarchy| {
            let point = hierarchy.mount?.into_bytes();
            Some(MountPoint { point, hierarchy: Some(hierarchy.hierarchy) })
        })
        .collect();
    let ParsedPath { path, mount, .. } = cgtrace_paths::parse_at(name.as_bytes(), &mounts);
    mount?;
    client.exists(&paths::to_wire(&path)).unwrap_or(false).then(|| paths::escape(&path))
}
