//! What must be the same in a reply that the document shows and in one that a daemon gave: the members, their types,
//! the lengths of lists, and the values. The exceptions are here and nowhere else.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::support::Outcome;

/// Members whose values are of a machine and a moment, or are words for people: only the type is the same.
const VARIES: [&str; 47] = [
    // Times, of which the form is compared, and numbers of events.
    "time",
    "boot_ns",
    "start_boot_ns",
    "seq",
    "elapsed_ms",
    // Ids.
    "id",
    "parent_id",
    "pid",
    "tid",
    "ppid",
    // Who did it, and where processes of this machine are.
    "comm",
    "cgroup",
    "cgroups.path",
    "executed_in.path",
    "from.id",
    "from.path",
    "arguments",
    // What this machine is, and what has happened on it.
    "version",
    "kernel",
    "mount",
    "hierarchies.cgroups",
    "previous_instances",
    "created",
    "removed",
    "resyncs",
    "programs.missed",
    "parameters.dropped",
    "instructions",
    "jited_bytes",
    "used",
    "records",
    "lost",
    "wakeups",
    "anomalies",
    "waiters",
    "subscriptions",
    "connections",
    "compared",
    // For people.
    "note",
    "notes",
    "reason",
    "explanation",
    "evidence",
    "fix",
    "differences.index",
    "differences.filesystem",
    "unreadable",
];

/// Limits are the defaults.
const FIXED: &str = "limits";

/// Lists of which the document shows some elements, or which have as many as the machine has of it: each that is
/// shown must be like one that is there.
const SHORTENED: [&str; 18] = [
    "hierarchies",
    "programs",
    "rings",
    "parameters.cgroups",
    "verdicts.answer.rows",
    "process.cgroups",
    "parameters.execs",
    "execs.cgroups",
    "parameters.removed_paths",
    "executed_in",
    "ancestors",
    "arguments",
    "also",
    "evidence",
    "fix",
    "notes",
    "unreadable",
    "known",
];

/// Not every kernel tells it, and not at every time.
const SOMETIMES: [&str; 5] = ["instructions", "jited_bytes", "runs", "run_ns", "programs.missed"];

fn is(at: &str, names: &[&str]) -> bool {
    names.iter().any(|name| at.ends_with(&format!(".{name}")))
}

/// Fails unless the two are alike; `at` is where they stand.
pub fn alike(shown: &Value, said: &Value, at: &str) -> Outcome {
    match (shown, said) {
        (Value::Object(shown), Value::Object(said)) => {
            for name in shown.keys().chain(said.keys()).collect::<BTreeSet<_>>() {
                let at = format!("{at}.{name}");
                match (shown.get(name), said.get(name)) {
                    (Some(shown), Some(said)) => alike(shown, said, &at)?,
                    _ if is(&at, &SOMETIMES) => {}
                    (Some(_), None) => bail!("{at} is shown and not said"),
                    (None, _) => bail!("{at} is said and not shown"),
                }
            }
            Ok(())
        }
        (Value::Array(shown), Value::Array(said)) => {
            if is(at, &SHORTENED) {
                return shown.iter().try_for_each(|shown| among(shown, said, at));
            }
            ensure!(shown.len() == said.len(), "{at}: {} are shown, {} are said", shown.len(), said.len());
            shown.iter().zip(said).try_for_each(|(shown, said)| alike(shown, said, at))
        }
        (Value::String(shown), Value::String(said)) => {
            if is(at, &["time"]) {
                return ensured(form(shown) == form(said), at, shown, said);
            }
            let same = match shown.split_once('…') {
                // Shortened there.
                Some((begin, _)) => said.starts_with(begin),
                None => shown == said,
            };
            ensured(same || varies(at), at, shown, said)
        }
        (Value::Number(shown), Value::Number(said)) => {
            ensured(said.is_u64() && (shown == said || varies(at)), at, shown, said)
        }
        (Value::Bool(_), Value::Bool(_)) | (Value::Null, Value::Null) => {
            ensured(shown == said, at, shown, said)
        }
        _ => bail!("{at}: {shown} is shown, {said} is said"),
    }
}

fn varies(at: &str) -> bool {
    is(at, &VARIES) && !at.contains(&format!(".{FIXED}."))
}

fn ensured(same: bool, at: &str, shown: impl std::fmt::Display, said: impl std::fmt::Display) -> Outcome {
    ensure!(same, "{at}: {shown} is shown, {said} is said");
    Ok(())
}

/// One of a shortened list. Control for people may be fewer than shown.
fn among(shown: &Value, said: &[Value], at: &str) -> Outcome {
    if shown.is_string() && varies(at) {
        return ensured(said.iter().all(Value::is_string), at, shown, "something else");
    }
    let mut tried = said.iter().map(|said| alike(shown, said, at));
    let first = tried.next().with_context(|| format!("{at}: {shown} is shown, and the list is empty"))?;
    if first.is_ok() || tried.any(|tried| tried.is_ok()) { Ok(()) } else { first }
}

/// A time without its digits.
fn form(time: &str) -> String {
    time.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect()
}
