//! Compares a reply in the document with a daemon's: the members, their types, the lengths of lists, and the
//! values must be equal. All exceptions are listed here.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use crate::support::Outcome;

/// Members whose values depend on the machine and the time, or are texts for people: only the type is
/// compared.
const VARIES: [&str; 50] = [
    // Times, of which the format is compared, and sequence numbers.
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
    // Tasks, and the locations of processes.
    "comm",
    "cgroup",
    "cgroups.path",
    "executed_in.path",
    "from.id",
    "from.path",
    "arguments",
    // Properties and history of this machine.
    "version",
    "kernel",
    "mount",
    "hierarchies.cgroups",
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
    "parameters.last",
    "history.bytes",
    "history.stored",
    "history.segments",
    // Texts for people.
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

/// Limits have their default values.
const FIXED: &str = "limits";

/// Lists that the document shortens, or whose length depends on the machine: each element shown must match an
/// element of the reply.
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

/// Optional: depends on the kernel and the time.
const SOMETIMES: [&str; 5] = ["instructions", "jited_bytes", "runs", "run_ns", "programs.missed"];

fn is(at: &str, names: &[&str]) -> bool {
    names.iter().any(|name| at.ends_with(&format!(".{name}")))
}

/// Fails unless the two are alike; `at` is their location.
pub fn alike(shown: &Value, actual: &Value, at: &str) -> Outcome {
    match (shown, actual) {
        (Value::Object(shown), Value::Object(actual)) => {
            for name in shown.keys().chain(actual.keys()).collect::<BTreeSet<_>>() {
                let at = format!("{at}.{name}");
                match (shown.get(name), actual.get(name)) {
                    (Some(shown), Some(actual)) => alike(shown, actual, &at)?,
                    _ if is(&at, &SOMETIMES) => {}
                    (Some(_), None) => bail!("{at} is shown, but not in the reply"),
                    (None, _) => bail!("{at} is in the reply, but not shown"),
                }
            }
            Ok(())
        }
        (Value::Array(shown), Value::Array(actual)) => {
            if is(at, &SHORTENED) {
                return shown.iter().try_for_each(|shown| among(shown, actual, at));
            }
            ensure!(
                shown.len() == actual.len(),
                "{at}: {} are shown, {} are in the reply",
                shown.len(),
                actual.len()
            );
            shown.iter().zip(actual).try_for_each(|(shown, actual)| alike(shown, actual, at))
        }
        (Value::String(shown), Value::String(actual)) => {
            if is(at, &["time"]) {
                return ensured(form(shown) == form(actual), at, shown, actual);
            }
            let same = match shown.split_once('…') {
                // Shortened in the document.
                Some((begin, _)) => actual.starts_with(begin),
                None => shown == actual,
            };
            ensured(same || varies(at), at, shown, actual)
        }
        (Value::Number(shown), Value::Number(actual)) => {
            ensured(actual.is_u64() && (shown == actual || varies(at)), at, shown, actual)
        }
        (Value::Bool(_), Value::Bool(_)) | (Value::Null, Value::Null) => {
            ensured(shown == actual, at, shown, actual)
        }
        _ => bail!("{at}: {shown} is shown, the reply has {actual}"),
    }
}

fn varies(at: &str) -> bool {
    is(at, &VARIES) && !at.contains(&format!(".{FIXED}."))
}

fn ensured(same: bool, at: &str, shown: impl std::fmt::Display, actual: impl std::fmt::Display) -> Outcome {
    ensure!(same, "{at}: {shown} is shown, the reply has {actual}");
    Ok(())
}

/// Compares with an element of a shortened list. There may be fewer texts for people than shown.
fn among(shown: &Value, actual: &[Value], at: &str) -> Outcome {
    if shown.is_string() && varies(at) {
        return ensured(actual.iter().all(Value::is_string), at, shown, "another type");
    }
    let mut tried = actual.iter().map(|actual| alike(shown, actual, at));
    let first = tried.next().with_context(|| format!("{at}: {shown} is shown, and the list is empty"))?;
    if first.is_ok() || tried.any(|tried| tried.is_ok()) { Ok(()) } else { first }
}

/// A time with its digits replaced.
fn form(time: &str) -> String {
    time.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect()
}
