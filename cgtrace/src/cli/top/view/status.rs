//! The first and the last line.

use std::time::Duration;

use super::ellipsis::{middle, width};
use crate::cli::{
    text,
    top::{
        app::App,
        model::{Link, Tree},
    },
};

/// How long the status line reports that the connection is back.
const REPORTED_NS: u64 = 10_000_000_000;

const KEYS: [&str; 6] = ["q quit", "? help", "/ filter", "h hierarchy", "s sort", "Enter fold"];

/// The first line: the hierarchy, how many cgroups it has, and how many events there are.
pub fn header(app: &App, columns: usize) -> String {
    let model = &app.model;
    let number = model.trees.range(..=model.shown).count();
    let mut parts = Vec::new();
    if let Some(tree) = model.tree() {
        parts.push(if model.trees.len() > 1 {
            format!("{} ({number} of {})", tree.name, model.trees.len())
        } else {
            tree.name.clone()
        });
        parts.push(cgroups(tree));
    } else {
        parts.push("no cgroup matches yet".to_owned());
    }
    for (number, what) in [(model.lost, "lost"), (model.dropped, "dropped")] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    parts.push(format!("{} events/s", model.rate.per_second));
    parts.push(format!("by {}", model.order.as_str()));
    fitting(&parts, columns)
}

/// The first parts that fit, of the first one what fits.
fn fitting(parts: &[impl AsRef<str>], columns: usize) -> String {
    let mut line = String::new();
    for part in parts.iter().map(AsRef::as_ref) {
        if line.is_empty() {
            line = middle(part, columns);
        } else if width(&line) + 2 + width(part) <= columns {
            line = format!("{line}  {part}");
        } else {
            break;
        }
    }
    line
}

fn cgroups(tree: &Tree) -> String {
    match (tree.present(), tree.removed()) {
        (1, 0) => "1 cgroup".to_owned(),
        (present, 0) => format!("{present} cgroups"),
        (present, removed) => format!("{present} cgroups, {removed} removed"),
    }
}

/// The last line, and whether it reports a problem.
pub fn footer(app: &App, columns: usize, now: u64) -> (String, bool) {
    let since = |at: u64| {
        let seconds = Duration::from_nanos(now.saturating_sub(at)).as_secs();
        if seconds == 0 { "0 s".to_owned() } else { text::duration(Duration::from_secs(seconds)) }
    };
    if app.is_typing {
        let mistake = app.mistake.as_ref().map(|mistake| format!("  ({mistake})"));
        return (format!("/{}{}", text::escape(&app.filter), mistake.unwrap_or_default()), false);
    }
    match &app.model.link {
        Link::Down { reason, at } => {
            let reason = text::escape(reason);
            (format!("reconnecting for {}: {reason}; shown as of then", since(*at)), true)
        }
        Link::Back { note, at } if now.saturating_sub(*at) < REPORTED_NS => (text::escape(note), true),
        Link::Up | Link::Back { .. } if app.filter.is_empty() => (fitting(&KEYS, columns), false),
        Link::Up | Link::Back { .. } => {
            (format!("filter: {}  (Esc: show all)", text::escape(&app.filter)), false)
        }
    }
}
