//! Texts that are shortened to fit a row.

use clap::builder::styling::Style;

use super::styled;

/// The fewest columns with which a path can be recognized: before, other parts are left out.
const MIN_PATH: usize = 12;

/// The fewest columns that a shortened path keeps.
const LEAST_PATH: usize = 6;

/// Between the parts of a row.
const GAP: &str = "  ";

/// How many columns a text takes.
fn columns(text: &str) -> usize {
    text.chars().count()
}

/// Replaces the middle of a text by `…` if it is wider than that. Of a path the end says more than the front.
pub fn ellipsis(text: &str, width: usize) -> String {
    let length = columns(text);
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (front, back) = (kept / 3, kept - kept / 3);
    text.chars().take(front).chain(['…']).chain(text.chars().skip(length - back)).collect()
}

/// As many names as fit, and how many more there are: `v2 pids +5`. The first is always shown.
pub fn names(names: &[String], width: usize) -> String {
    let all = names.join(" ");
    if columns(&all) <= width {
        return all;
    }
    let shortened = |shown: usize| format!("{} +{}", names[..shown].join(" "), names.len() - shown);
    let fits = |shown: &usize| columns(&shortened(*shown)) <= width;
    match names.len() {
        0 | 1 => all,
        count => shortened((1..count).rev().find(fits).unwrap_or(1)),
    }
}

/// A part of a row.
#[derive(Debug)]
pub enum Part {
    /// Shown as it is.
    Text(Style, String),
    /// Shown as it is, or left out to keep the paths readable.
    Optional(Style, String),
    /// A path, after a word like `from `. Its middle is replaced if there is no room.
    Path(&'static str, String),
    /// Hierarchies. Those for which there is no room are counted.
    Names(Vec<String>),
}

impl Part {
    /// A part without a style.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Style::new(), text.into())
    }

    fn columns(&self) -> usize {
        match self {
            Self::Text(_, text) | Self::Optional(_, text) => columns(text),
            Self::Path(word, path) => columns(word) + columns(path),
            Self::Names(names) => columns(&names.join(" ")),
        }
    }

    /// The fewest columns that it takes.
    fn min_columns(&self) -> usize {
        match self {
            Self::Path(word, path) => columns(word) + columns(path).min(MIN_PATH),
            Self::Names(list) => columns(&names(list, 0)),
            Self::Text(..) | Self::Optional(..) => self.columns(),
        }
    }
}

/// A row of parts, in at most that many columns if a width is given and the parts allow it.
pub fn row(mut parts: Vec<Part>, width: Option<usize>) -> String {
    let width = width.unwrap_or(usize::MAX);
    let total = |parts: &[Part], of: fn(&Part) -> usize| {
        parts.iter().map(of).sum::<usize>() + GAP.len() * parts.len().saturating_sub(1)
    };
    if total(&parts, Part::min_columns) > width {
        parts.retain(|part| !matches!(part, Part::Optional(..)));
    }
    // First hierarchies are counted instead of named, then paths are shortened.
    let names_min =
        |part: &Part| if matches!(part, Part::Names(_)) { part.min_columns() } else { part.columns() };
    let mut excess = total(&parts, names_min).saturating_sub(width);
    let mut spare = width.saturating_sub(total(&parts, names_min));
    let longest = |parts: &[Part]| {
        let length = |part: &Part| if let Part::Path(_, path) = part { columns(path) } else { 0 };
        parts.iter().map(length).max().unwrap_or(0)
    };
    // The longer of two paths is shortened first.
    let mut path_width = longest(&parts);
    let lengths: Vec<usize> = parts
        .iter()
        .filter_map(|part| if let Part::Path(_, path) = part { Some(columns(path)) } else { None })
        .collect();
    while excess > 0 && path_width > LEAST_PATH {
        excess = excess.saturating_sub(lengths.iter().filter(|length| **length >= path_width).count());
        path_width -= 1;
    }
    let shown: Vec<String> = parts
        .into_iter()
        .map(|part| match part {
            Part::Text(style, text) | Part::Optional(style, text) => styled(style, &text),
            Part::Path(word, path) => format!("{word}{}", ellipsis(&path, path_width)),
            Part::Names(list) => {
                let text = names(&list, columns(&names(&list, 0)).saturating_add(spare));
                spare = spare.saturating_sub(columns(&text) - columns(&names(&list, 0)));
                text
            }
        })
        .collect();
    shown.join(GAP).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn plain(parts: Vec<Part>, width: usize) -> String {
        anstream::adapter::strip_str(&row(parts, Some(width))).to_string()
    }

    #[test]
    fn the_middle_is_replaced() {
        assert_eq!(ellipsis("/abcdefgh", 9), "/abcdefgh");
        assert_eq!(ellipsis("/abcdefgh", 6), "/…efgh");
        assert_eq!(ellipsis("/äöüß", 4), "/…üß");
    }

    #[test]
    fn names_without_room_are_counted() {
        let names_ = list(&["v2", "pids", "memory"]);
        assert_eq!(names(&names_, 14), "v2 pids memory");
        assert_eq!(names(&names_, 13), "v2 pids +1");
        assert_eq!(names(&names_, 0), "v2 +2");
        assert_eq!(names(&list(&["memory"]), 0), "memory");
    }

    #[test]
    fn hierarchies_are_counted_before_paths_are_shortened() {
        let parts = |path: &str| {
            vec![
                Part::text("mkdir"),
                Part::Path("", path.to_owned()),
                Part::Names(list(&["v2", "pids", "memory"])),
                Part::Optional(Style::new(), "by a[1]".to_owned()),
            ]
        };
        assert_eq!(plain(parts("/abc"), 36), "mkdir  /abc  v2 pids memory  by a[1]");
        assert_eq!(plain(parts("/abc"), 35), "mkdir  /abc  v2 pids +1  by a[1]");
        let path = "/0123456789012345";
        assert_eq!(plain(parts(path), 40), format!("mkdir  {path}  v2 +2  by a[1]"));
        assert_eq!(plain(parts(path), 36), "mkdir  /012…89012345  v2 +2  by a[1]");
        // Before paths become unreadable, the rest is left out.
        assert_eq!(plain(parts(path), 33), format!("mkdir  {path}  v2 +2"));
    }

    #[test]
    fn the_longer_path_is_shortened_first() {
        let parts = vec![
            Part::Path("", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned()),
            Part::Path("from ", "/short".to_owned()),
        ];
        assert_eq!(plain(parts, 33), "/aaaaa…aaaaaaaaaaaaa  from /short");
    }
}
