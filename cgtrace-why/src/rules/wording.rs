//! The wording of evidence. All text from outside is escaped here, so that no path can affect a terminal.

use cgtrace_client::wire::{HierarchyResult, Instance, Membership, PathResult, Task, Timestamp};

use super::shell;
use crate::facts::Process;

/// A path in shell quotes.
pub(super) fn quoted(text: &str) -> String {
    shell::quoted(text.as_bytes())
}

/// A text that is inert in a terminal and in a shell; empty if the text is.
pub(super) fn plain(text: &str) -> String {
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

/// The wall clock time in milliseconds; the results next to the evidence have full precision.
pub(super) fn timestamp(timestamp: &Timestamp) -> String {
    let text = timestamp.to_string();
    format!("{}Z", text.get(.."0000-00-00T00:00:00.000".len()).unwrap_or(&text))
}

/// A duration in its two largest units.
pub(super) fn duration(from: &Timestamp, until: &Timestamp) -> String {
    let ns = until.boot_ns.saturating_sub(from.boot_ns);
    let seconds = ns / 1_000_000_000;
    let two = |large: u64, large_name, small: u64, small_name| match small {
        0 => format!("{large} {large_name}"),
        _ => format!("{large} {large_name} {small} {small_name}"),
    };
    match seconds {
        0 => format!("{} ms", ns / 1_000_000),
        1..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A process: `kubelet[42] (uid 0, in /init.scope)`.
pub(super) fn task(task: &Task) -> String {
    let uid = task.uid.map(|uid| format!("uid {uid}"));
    let cgroup = task.cgroup.as_ref().map(|cgroup| format!("in {}", plain(cgroup)));
    let details: Vec<String> = uid.into_iter().chain(cgroup).collect();
    if details.is_empty() { short(task) } else { format!("{} ({})", short(task), details.join(", ")) }
}

fn short(task: &Task) -> String {
    format!("{}[{}]", plain(&task.comm), task.pid)
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
    let ancestors: Vec<String> = process.ancestors.iter().map(short).collect();
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
    let states =
        grouped(results.into_iter().map(|result| (state_on_hierarchy(result), result.hierarchy.as_str())));
    states.into_iter().map(|(state, hierarchies)| format!("{}: {state}", hierarchies.join(" "))).collect()
}

fn state_on_hierarchy(result: &HierarchyResult) -> String {
    match (&result.current, result.previous.first()) {
        (Some(instance), _) => format!("present, {}", creation(instance)),
        (None, _) if result.present => "present".to_owned(),
        (None, Some(last)) => format!("absent, {}", removal(last)),
        (None, None) => format!("absent, {}", not_seen(result)),
    }
}

/// A path's state in a few words.
pub(super) fn state(path_result: &PathResult) -> String {
    let present = path_result.hierarchies.iter().filter(|result| result.present);
    let mut hierarchies = present.map(|result| result.hierarchy.as_str()).peekable();
    if hierarchies.peek().is_some() {
        return format!("present on {}", list(hierarchies));
    }
    last_removed(&path_result.hierarchies).map_or_else(|| "not seen".to_owned(), removal)
}

/// The previous instance that was removed last, on any of the hierarchies.
pub(super) fn last_removed<'a>(
    results: impl IntoIterator<Item = &'a HierarchyResult>,
) -> Option<&'a Instance> {
    let removed = results.into_iter().filter_map(|result| result.previous.first());
    removed.max_by_key(|instance| instance.removed_at.as_ref().map(|removed_at| removed_at.boot_ns))
}

fn creation(instance: &Instance) -> String {
    match (&instance.created_at, &instance.existed_at) {
        (Some(created_at), _) if instance.inferred => {
            format!("created at {} or earlier (records were lost)", timestamp(created_at))
        }
        (Some(created_at), _) => {
            format!("created at {}{}", timestamp(created_at), by(instance.created_by.as_ref()))
        }
        (None, Some(existed_at)) => format!("created before {}", timestamp(existed_at)),
        (None, None) => "created at an unknown time".to_owned(),
    }
}

/// When and by which process an instance was removed, and how long it existed.
pub(super) fn removal(instance: &Instance) -> String {
    let Some(removed_at) = &instance.removed_at else { return "removed at an unknown time".to_owned() };
    if let Some(gap) = &instance.removed_during {
        let when = match &gap.from {
            Some(from) => format!("between {} and {}", timestamp(from), timestamp(removed_at)),
            None => format!("before {}", timestamp(removed_at)),
        };
        return format!("removed {when}: {gap}");
    }
    let lost = if instance.inferred { " or earlier (records were lost)" } else { "" };
    let lifetime = match (&instance.created_at, &instance.existed_at) {
        (Some(created_at), _) if !instance.inferred => {
            format!(", after a lifetime of {}", duration(created_at, removed_at))
        }
        (None, Some(existed_at)) => {
            format!(", after a lifetime of more than {}", duration(existed_at, removed_at))
        }
        _ => String::new(),
    };
    format!("removed at {}{lost}{}{lifetime}", timestamp(removed_at), by(instance.removed_by.as_ref()))
}

/// States that the cgroup was not seen, and for which time that holds.
pub(super) fn not_seen(result: &HierarchyResult) -> String {
    let since = timestamp(result.horizon());
    let mut text = match (&result.gap, result.scanned) {
        (None, true) => format!("not seen since observation of this hierarchy began at {since}"),
        (Some(_), true) => format!("not seen since {since}"),
        (_, false) => format!("no event since {since}; the hierarchy could not be scanned, so it may exist"),
    };
    if let Some(gap) = &result.gap {
        let from = gap.from.as_ref().map(|from| format!(" from {}", timestamp(from))).unwrap_or_default();
        text.push_str(&format!("; before,{from}, {gap}, so an instance in that time may be unknown"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units() {
        let at = |s: u64| Timestamp::from_unix_ns(0, s * 1_000_000_000);
        let of = |s| duration(&at(0), &at(s));
        assert_eq!(
            [of(0), of(59), of(61), of(7_200), of(90_000)],
            ["0 ms", "59 s", "1 min 1 s", "2 h", "1 d 1 h"]
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let hostile =
            Task { comm: "\x1b[2J".to_owned(), cgroup: Some("/\x07".to_owned()), ..Task::default() };
        assert!(!task(&hostile).contains(char::is_control));
        assert!(!quoted("/a\u{202e}b").contains('\u{202e}'));
    }

    #[test]
    fn absence_is_bounded_in_time() {
        let observed_since = Timestamp::from_unix_ns(1_234_567, 1);
        let result = HierarchyResult { observed_since, scanned: true, ..HierarchyResult::default() };
        assert!(not_seen(&result).contains("began at 1970-01-01T00:00:00.001Z"));
        assert!(not_seen(&HierarchyResult { scanned: false, ..result }).contains("could not be scanned"));
    }
}
