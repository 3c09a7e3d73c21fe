//! `exists`: whether cgroups exist, one line per answer.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use cgtrace_client::{Client, paths, wire};
use cgtrace_paths::{MountPoint, ParsedPath};

use super::{
    Outcome,
    arguments::Exists,
    connect::{Connected, Connector},
    failure::Failure,
    output::Output,
    path,
    stderr::print,
    text,
};

pub fn run(exists: &Exists, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let lookup = wire::Lookup {
        paths: exists.paths.iter().map(|path| path::to_wire(path)).collect::<Result<_, _>>()?,
        hierarchy: exists.hierarchy.name.clone(),
        ..wire::Lookup::default()
    };
    let Connected { mut client, source } = connector.connect_for_present(exists.quiet)?;
    let results = client.lookup_with(&lookup)?.results;
    for (number, (given, result)) in exists.paths.iter().zip(&results).enumerate() {
        if exists.quiet {
            // Only the exit status is wanted.
        } else if output.json {
            output.document(&source.answer(result))?;
        } else {
            print_result(number, exists.paths.len(), result, output)?;
            if !result.present
                && let Some(hint) = without_mount(&mut client, given)
            {
                print(format!(
                    "cgtrace: paths are relative to the root of the hierarchy; did you mean {hint}?"
                ));
            }
        }
    }
    let all = results.len() == exists.paths.len() && results.iter().all(|result| result.present);
    Ok(if all { Outcome::Yes } else { Outcome::No })
}

/// Prints a result, below its path if several were given.
fn print_result(
    number: usize,
    count: usize,
    result: &wire::PathResult,
    output: &mut Output,
) -> Result<(), Failure> {
    if count == 1 {
        return output.paragraphs(text::results(result));
    }
    if number > 0 {
        output.line("")?;
    }
    output.line(text::path(Some(&result.path), result.path_hex.as_deref()))?;
    output.paragraphs(text::results(result).into_iter().map(|line| format!("  {line}")))
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
