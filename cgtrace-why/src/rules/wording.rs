//! How evidence is worded. Whatever came from outside is escaped here, so that no name can move a terminal.

use cgtrace_client::wire::{HierarchyResult, Instance, Membership, PathResult, Task, Timestamp};

use super::shell;
use crate::facts::Process;

/// A path in quotes, as a shell reads them.
pub(super) fn quoted(text: &str) -> String {
    shell::quoted(text.as_bytes())
}

/// A text that does nothing to a terminal or in a shell.
pub(super) fn plain(text: &str) -> String {
    if text.is_empty() { String::new() } else { word(text) }
}

/// A word of a shell's command line.
pub(super) fn word(text: &str) -> String {
    shell::shell_word(text)
}

/// A list as a sentence has it.
pub(super) fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| plain(word.as_ref())).collect();
    match words.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// The wall clock's time to the millisecond; results beside this text have all digits.
pub(super) fn moment(moment: &Timestamp) -> String {
    let text = moment.to_string();
    format!("{}Z", text.get(.."0000-00-00T00:00:00.000".len()).unwrap_or(&text))
}

/// How long: the two largest units.
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

/// A process: `kubelet (pid 42, uid 0, in /init.scope)`.
pub(super) fn task(task: &Task) -> String {
    let mut text = format!("{} (pid {}", plain(&task.comm), task.pid);
    if let Some(uid) = task.uid {
        text.push_str(&format!(", uid {uid}"));
    }
    if let Some(cgroup) = &task.cgroup {
        text.push_str(&format!(", in {}", plain(cgroup)));
    }
    text.push(')');
    text
}

/// Who did it; empty if that is not known, or not told.
pub(super) fn by(task_: Option<&Task>) -> String {
    task_.map(|task_| format!(" by {}", task(task_))).unwrap_or_default()
}

/// A process's cgroups: each path once, with the hierarchies on which it is there.
pub(super) fn places(places: &[Membership]) -> String {
    let grouped = grouped(places.iter().map(|place| (place.path.as_str(), place.hierarchy.as_str())));
    match grouped.as_slice() {
        [] => "unknown cgroups".to_owned(),
        // The same everywhere.
        [(path, hierarchies)] if hierarchies.len() > 1 => quoted(path),
        paths => list(
            paths.iter().map(|(path, hierarchies)| format!("{} on {}", plain(path), hierarchies.join(" "))),
        ),
    }
}

/// A process's ancestors, the nearest first.
pub(super) fn ancestry(process: &Process) -> String {
    let names: Vec<String> =
        process.ancestors.iter().map(|task| format!("{}({})", plain(&task.comm), task.pid)).collect();
    names.join(" <- ")
}

/// Groups hierarchies by what is known of each.
fn grouped<'a, T: PartialEq>(said: impl Iterator<Item = (T, &'a str)>) -> Vec<(T, Vec<String>)> {
    let mut grouped: Vec<(T, Vec<String>)> = Vec::new();
    for (said, hierarchy) in said {
        match grouped.iter_mut().find(|(other, _)| *other == said) {
            Some((_, hierarchies)) => hierarchies.push(plain(hierarchy)),
            None => grouped.push((said, vec![plain(hierarchy)])),
        }
    }
    grouped
}

/// A path's state on each hierarchy; hierarchies with the same state share a line.
pub(super) fn results<'a>(rows: impl IntoIterator<Item = &'a HierarchyResult>) -> Vec<String> {
    let states = grouped(rows.into_iter().map(|row| (row_state(row), row.hierarchy.as_str())));
    states.into_iter().map(|(state, hierarchies)| format!("{}: {state}", hierarchies.join(" "))).collect()
}

fn row_state(row: &HierarchyResult) -> String {
    match (&row.current, row.previous.first()) {
        (Some(instance), _) => format!("present, {}", birth(instance)),
        (None, _) if row.present => "present".to_owned(),
        (None, Some(last)) => format!("absent, {}", end(last)),
        (None, None) => format!("absent, {}", never(row)),
    }
}

/// A path's state in a few words.
pub(super) fn state(answer: &PathResult) -> String {
    let present = answer.hierarchies.iter().filter(|row| row.present).map(|row| row.hierarchy.as_str());
    let mut present = present.peekable();
    if present.peek().is_some() {
        return format!("present on {}", list(present));
    }
    last_end(&answer.hierarchies).map_or_else(|| "not seen".to_owned(), end)
}

/// The previous instance that ended last, on any of the hierarchies.
pub(super) fn last_end<'a>(rows: impl IntoIterator<Item = &'a HierarchyResult>) -> Option<&'a Instance> {
    let ended = rows.into_iter().filter_map(|row| row.previous.first());
    ended.max_by_key(|instance| instance.removed_at.as_ref().map(|removed_at| removed_at.boot_ns))
}

fn birth(instance: &Instance) -> String {
    match (&instance.created_at, &instance.existed_at) {
        (Some(created_at), _) if instance.inferred => {
            format!("made at the latest at {}, while records were lost", moment(created_at))
        }
        (Some(created_at), _) => {
            let by = instance.created_by.as_ref().map(|by| format!(", made by {}", task(by)));
            format!("since {}{}", moment(created_at), by.unwrap_or_default())
        }
        (None, Some(before)) => format!("since before {}", moment(before)),
        (None, None) => "since an unknown time".to_owned(),
    }
}

/// How an instance ended: when, by whom, after how long.
pub(super) fn end(instance: &Instance) -> String {
    let Some(removed_at) = &instance.removed_at else { return "removed at an unknown time".to_owned() };
    let lost = if instance.inferred { " at the latest, while records were lost" } else { "" };
    let lived = match (&instance.created_at, &instance.existed_at) {
        (Some(created_at), _) if !instance.inferred => {
            format!(" after a lifetime of {}", duration(created_at, removed_at))
        }
        (None, Some(before)) => format!(" after a lifetime of more than {}", duration(before, removed_at)),
        _ => String::new(),
    };
    format!("removed at {}{lost}{}{lived}", moment(removed_at), by(instance.removed_by.as_ref()))
}

/// That it was not seen, with the bounds of what is known.
pub(super) fn never(row: &HierarchyResult) -> String {
    let since = moment(&row.observed_since);
    let mut text = if row.scanned {
        format!("never since {since}, when knowledge of this hierarchy began")
    } else {
        format!("no event of it since {since}; the hierarchy could not be read, so it may exist unseen")
    };
    if let Some(gap) = &row.gap {
        let (from, until, missed) = (moment(&gap.from), moment(&gap.until), gap.lost);
        text.push_str(&format!(
            "; {missed} records were lost from {from} to {until}, and an instance within is not known"
        ));
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
    fn nothing_moves_a_terminal() {
        let task_ = Task { comm: "\x1b[2J".to_owned(), cgroup: Some("/\x07".to_owned()), ..Task::default() };
        assert!(!task(&task_).contains(char::is_control));
        assert!(!quoted("/a\u{202e}b").contains('\u{202e}'));
    }

    #[test]
    fn never_has_its_bounds() {
        let observed_since = Timestamp::from_unix_ns(1_234_567, 1);
        let row = HierarchyResult { observed_since, scanned: true, ..HierarchyResult::default() };
        assert!(never(&row).contains("since 1970-01-01T00:00:00.001Z"));
        assert!(never(&HierarchyResult { scanned: false, ..row }).contains("could not be read"));
    }
}
