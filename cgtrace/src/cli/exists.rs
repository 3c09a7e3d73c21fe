//! `exists`: whether a cgroup exists, one line per hierarchy.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use cgtrace_client::{Client, paths, wire};
use cgtrace_paths::{MountPoint, ParsedPath};

use super::{
    Outcome, arguments::Exists, connect::Connector, failure::Failure, output::Output, path, stderr::print,
    text,
};

pub fn run(exists: &Exists, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let lookup = wire::Lookup {
        paths: vec![path::to_wire(&exists.path)?],
        hierarchy: exists.hierarchy.name.clone(),
        ..wire::Lookup::default()
    };
    let mut client = connector.connect()?.client;
    let result = client.lookup_with(&lookup)?.results.into_iter().next().unwrap_or_default();
    if exists.quiet {
        // Only the exit status is wanted.
    } else if output.json {
        output.document(&result)?;
    } else {
        for line in text::results(&result) {
            output.line(line)?;
        }
        if !result.present
            && let Some(hint) = without_mount(&mut client, &exists.path)
        {
            print(format!("cgtrace: paths are relative to the root of the hierarchy; did you mean {hint}?"));
        }
    }
    Ok(if result.present { Outcome::Yes } else { Outcome::No })
}

/// The path without its leading mount point, if such a cgroup exists.
fn without_mount(client: &mut Client, given: &OsStr) -> Option<String> {
    let status = client.status().ok()?;
    let mounts: Vec<MountPoint> = status
        .hierarchies
        .into_iter()
        .filter_map(|hierarchy| {
            let point = hierarchy.mount?.into_bytes();
            Some(MountPoint { point, hierarchy: Some(hierarchy.hierarchy) })
        })
        .collect();
    let ParsedPath { path, mount, .. } = cgtrace_paths::parse_at(given.as_bytes(), &mounts);
    mount?;
    client.exists(&paths::to_wire(&path)).unwrap_or(false).then(|| paths::escape(&path))
}
