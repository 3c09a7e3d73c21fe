//! The wording of evidence. All text from outside is escaped here, so that no path can affect a terminal.

use cgtrace_client::wire::{HierarchyResult, Instance, Membership, PathResult, Task};

use super::shell;
pub(super) use crate::format::{between as duration, process_in_full as task, timestamp};
use crate::{facts::Process, format, instances};

/// A path in shell quotes.
pub(super) fn quoted(text: &str) -> String {
    shell::quoted(text.as_bytes())
}

/// A text that is inert in a terminal and in a shell; empty if the text is.
pub(crate) fn plain(text: &str) -> String {
    if text.is_empty() { String::new() } else { word(text) }
}

/// One word of a shell command line.
pub(super) fn word(text: &str) -> String {
    shell::shell_word(text)
}

/// An enumeration: `a, b and c`.
pub(super) fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| plain(word.as_ref())).collect();
    match words.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// The process that did something: ` by …`; empty if it is not known.
pub(super) fn by(process: Option<&Task>) -> String {
    process.map(|process| format!(" by {}", task(process))).unwrap_or_default()
}

/// A process's cgroups: each path once, with its hierarchies.
pub(super) fn cgroups(cgroups: &[Membership]) -> String {
    let grouped = grouped(cgroups.iter().map(|cgroup| (cgroup.path.as_str(), cgroup.hierarchy.as_str())));
    match grouped.as_slice() {
        [] => "unknown cgroups".to_owned(),
        // The same path on all hierarchies.
        [(path, hierarchies)] if hierarchies.len() > 1 => quoted(path),
        paths => list(
            paths.iter().map(|(path, hierarchies)| format!("{} on {}", plain(path), hierarchies.join(" "))),
        ),
    }
}

/// A process's ancestors, the nearest first.
pub(super) fn ancestry(process: &Process) -> String {
    let ancestors: Vec<String> = process.ancestors.iter().map(format::process).collect();
    ancestors.join(" <- ")
}

/// Groups hierarchies by a value.
fn grouped<'a, T: PartialEq>(values: impl Iterator<Item = (T, &'a str)>) -> Vec<(T, Vec<String>)> {
    let mut groups: Vec<(T, Vec<String>)> = Vec::new();
    for (value, hierarchy) in values {
        match groups.iter_mut().find(|(other, _)| *other == value) {
            Some((_, hierarchies)) => hierarchies.push(plain(hierarchy)),
            None => groups.push((value, vec![plain(hierarchy)])),
        }
    }
    groups
}

/// A path's state on each hierarchy; hierarchies with the same state share a line.
pub(super) fn results<'a>(results: impl IntoIterator<Item = &'a HierarchyResult>) -> Vec<String> {
    instances::groups(results)
        .iter()
        .map(|group| {
            let state = if group.present { "present" } else { "absent" };
            let text = group.text(None);
            let comma = if text.is_empty() { "" } else { ", " };
            format!("{}: {state}{comma}{text}", group.hierarchies())
        })
        .collect()
}

/// A path's state in a few words.
pub(super) fn state(path_result: &PathResult) -> String {
    let present = path_result.hierarchies.iter().filter(|result| result.present);
    let mut hierarchies = present.map(|result| result.hierarchy.as_str()).peekable();
    if hierarchies.peek().is_some() {
        return format!("present on {}", list(hierarchies));
    }
    if let Some(last) = last_removed(&path_result.hierarchies) {
        return removal(last);
    }
    let since =
        path_result.hierarchies.iter().map(HierarchyResult::horizon).max_by_key(|since| since.boot_ns);
    since.map_or_else(|| "not looked up".to_owned(), |since| format!("not seen since {}", timestamp(since)))
}

/// The previous instance that was removed last, on any of the hierarchies.
pub(super) fn last_removed<'a>(
    results: impl IntoIterator<Item = &'a HierarchyResult>,
) -> Option<&'a Instance> {
    let removed = results.into_iter().filter_map(|result| result.previous.first());
    removed.max_by_key(|instance| instance.removed_at.as_ref().map(|removed_at| removed_at.boot_ns))
}

/// When and by which process an instance was removed, and how long it existed.
pub(super) fn removal(instance: &Instance) -> String {
    instances::removal(&[instance], None)
}
