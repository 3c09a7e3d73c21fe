//! `exists`: whether cgroups exist, one line per answer.

use std::os::unix::ffi::OsStrExt as _;

use cgtrace_client::{Client, paths, wire};
use cgtrace_why::{Resolution, Resolved, Resolver, WithResolution};

use super::{
    Outcome,
    arguments::Exists,
    connect::{Connected, Connector},
    failure::Failure,
    hierarchy::of_option,
    output::Output,
    text,
};

pub fn run(exists: &Exists, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let hierarchy = of_option(&exists.hierarchy);
    let Connected { mut client, source } = connector.connect_for_present(exists.quiet)?;
    let mut resolver = Resolver::new(hierarchy.as_deref());
    let mut resolved = Vec::new();
    for path in &exists.paths {
        resolved.push(resolver.one(&mut client, path.as_bytes())?);
    }
    let results = lookup(&mut client, hierarchy.as_deref(), &resolved)?;
    let all = results.len() == exists.paths.len() && results.iter().all(|result| result.present);
    for (number, (resolved, result)) in resolved.into_iter().zip(results).enumerate() {
        let answer = WithResolution { document: result, resolution: resolved.resolution };
        if exists.quiet {
            // Only the exit status is wanted.
        } else if output.json {
            output.document(&source.answer(answer))?;
        } else {
            print_result(number, exists.paths.len(), &answer, output)?;
        }
    }
    Ok(if all { Outcome::Yes } else { Outcome::No })
}

/// Looks up all paths, those on one hierarchy together.
fn lookup(
    client: &mut Client,
    hierarchy: Option<&str>,
    resolved: &[Resolved],
) -> Result<Vec<wire::PathResult>, Failure> {
    let mut results = Vec::new();
    for same in resolved.chunk_by(|one, next| one.hierarchy == next.hierarchy) {
        let named = same.first().and_then(|resolved| resolved.hierarchy.clone());
        let lookup = wire::Lookup {
            paths: same.iter().map(|resolved| paths::to_wire(&resolved.path)).collect(),
            hierarchy: hierarchy.map(str::to_owned).or(named),
            ..wire::Lookup::default()
        };
        results.extend(client.lookup_with(&lookup)?.results);
    }
    Ok(results)
}

/// Prints a result, below its path if several were given.
fn print_result(
    number: usize,
    count: usize,
    answer: &WithResolution<wire::PathResult>,
    output: &mut Output,
) -> Result<(), Failure> {
    let WithResolution { document: result, resolution } = answer;
    if count == 1 {
        output.paragraphs(resolution.as_ref().map(text::resolution))?;
        return output.paragraphs(text::results(result));
    }
    if number > 0 {
        output.line("")?;
    }
    let path = || text::path(Some(&result.path), result.path_hex.as_deref());
    output.line(resolution.as_ref().map_or_else(path, Resolution::text))?;
    output.paragraphs(text::results(result).into_iter().map(|line| format!("  {line}")))
}
