//! The names nearest to a mistyped one. The cost is bounded, whatever is compared.

use std::cmp::Reverse;

use cgtrace_paths::ParsedPath;

/// Names are compared up to that length; a longer one is not near to anything.
const LENGTH: usize = 512;
/// The most names of which the distance is counted.
const COUNTED: usize = 20_000;

/// A name near to the one asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Its place among the names that were given.
    pub place: usize,
    /// How many bytes to insert, delete, replace or swap make one of the other; 0 for what is the same unit, pod
    /// or container elsewhere.
    pub distance: usize,
}

/// Up to `limit` of the names, the nearest first: those of the same unit, pod or container, then those at a
/// distance of at most a third of the length of the name's last component, and of 4. Names that differ in digits
/// alone are different things. The name itself is left out.
pub fn nearest<N: AsRef<[u8]>>(name: &[u8], names: impl IntoIterator<Item = N>, limit: usize) -> Vec<Near> {
    let asked = cgtrace_paths::parse(name);
    let wanted: &[u8] = asked.without_directory();
    // `sshd.service` is near to `kubelet.service` only by what all units share.
    let bound = (stem(asked.leaf()).len() / 3).min(4);
    let mut counted = 0;
    let mut found: Vec<(Near, usize)> = Vec::new();
    for (place, other) in names.into_iter().enumerate() {
        let other = other.as_ref();
        if other == name {
            continue;
        }
        let distance = if shares_leaf(&asked, other) && akin(&asked, &cgtrace_paths::parse(other)).is_some() {
            Some(0)
        } else if counted < COUNTED && bound > 0 && wanted.len() <= LENGTH && other.len() <= LENGTH {
            counted += 1;
            distance(wanted, other, bound).filter(|_| !differ_in_digits(wanted, other))
        } else {
            None
        };
        found.extend(distance.map(|distance| (Near { place, distance }, common_end(wanted, other))));
    }
    // Of two at one distance, the one with the same leaf is nearer.
    found.sort_by_key(|(near, end)| (near.distance, Reverse(*end), near.place));
    found.into_iter().map(|(near, _)| near).take(limit).collect()
}

/// A component without the type of its unit.
fn stem(component: &[u8]) -> &[u8] {
    let types = cgtrace_paths::UNIT_TYPES.into_iter().chain([".slice"]);
    types.into_iter().find_map(|end| component.strip_suffix(end.as_bytes())).unwrap_or(component)
}

fn differ_in_digits(one: &[u8], other: &[u8]) -> bool {
    let letters =
        |name: &[u8]| name.iter().copied().filter(|byte| !byte.is_ascii_digit()).collect::<Vec<_>>();
    letters(one) == letters(other)
}

/// Whether parsing may find the two akin: it costs more than this.
fn shares_leaf(asked: &ParsedPath, other: &[u8]) -> bool {
    let has = |text: &str| {
        let text = text.as_bytes();
        other.len() >= text.len() && other.windows(text.len().max(1)).any(|window| window == text)
    };
    asked.unit.as_deref().is_some_and(has)
        || asked.container_id.as_deref().is_some_and(has)
        // The drivers write a uid's dashes otherwise; its first part is written alike.
        || asked.pod_uid.as_deref().and_then(|uid| uid.split('-').next()).is_some_and(has)
}

/// What two names have in common that no typing error could give them.
pub(super) fn akin(one: &ParsedPath, other: &ParsedPath) -> Option<&'static str> {
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    if one.container_id.is_some() || other.container_id.is_some() {
        let ids = same(&one.container_id, &other.container_id);
        let leaf = one.container_id.as_ref().is_some_and(|id| id.len() == 64);
        (ids && leaf).then_some("the same container")
    } else if one.pod_uid.is_some() || other.pod_uid.is_some() {
        same(&one.pod_uid, &other.pod_uid).then_some("the same pod")
    } else if one.user_unit.is_some() || other.user_unit.is_some() {
        None
    } else {
        let whole =
            |name: &ParsedPath| name.unit.as_deref().is_some_and(|unit| name.leaf() == unit.as_bytes());
        (same(&one.unit, &other.unit) && whole(one) && whole(other))
            .then_some("the same unit in another slice")
    }
}

/// How many bytes two names end with alike.
fn common_end(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
}

/// The distance of Damerau and Levenshtein (with swaps of neighbours), if it is at most `bound`. It is counted by how far
/// each diagonal of their table is reached with one mistake more: the corner's is the one of the number `bound`.
fn distance(one: &[u8], other: &[u8], bound: usize) -> Option<usize> {
    let goal = (other.len() + bound).checked_sub(one.len()).filter(|goal| *goal <= 2 * bound)?;
    // What is left of both from a row on.
    let rest = |row: usize, diagonal: usize| {
        let column = (row + diagonal).checked_sub(bound)?;
        Some((one.get(row..)?, other.get(column..)?))
    };
    let mut reached: Vec<Option<usize>> = vec![None; 2 * bound + 1];
    for mistakes in 0..=bound {
        let before = reached.clone();
        let last = |diagonal: usize| before.get(diagonal).copied().flatten();
        for (diagonal, reached) in reached.iter_mut().enumerate() {
            let same = last(diagonal);
            let is_swapped = |row: &usize| matches!(rest(*row, diagonal), Some(([a, b, ..], [c, d, ..])) if (a, b) == (d, c));
            let starts = [
                (mistakes == 0 && diagonal == bound).then_some(0),
                same.map(|row| row + 1),
                same.filter(is_swapped).map(|row| row + 2),
                diagonal.checked_sub(1).and_then(last),
                last(diagonal + 1).map(|row| row + 1),
            ];
            let starts = starts.into_iter().flatten().filter_map(|row| Some((row, rest(row, diagonal)?)));
            *reached = starts.max_by_key(|(row, _)| *row).map(|(row, (one, other))| {
                row + one.iter().zip(other).take_while(|(one, other)| one == other).count()
            });
        }
        if reached[goal] == Some(one.len()) {
            return Some(mistakes);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn distance(one: &str, other: &str) -> Option<usize> {
        super::distance(one.as_bytes(), other.as_bytes(), 4)
    }

    #[test]
    fn mistakes_are_counted() {
        assert_eq!(distance("/kubelet", "/kublet"), Some(1));
        assert_eq!(distance("/kubelet", "/kuebelt"), Some(2));
        assert_eq!(distance("/kubelet", "/kubelte"), Some(1));
        assert_eq!(distance("/a", "/a"), Some(0));
        assert_eq!(distance("/abcdefghijk", "/zyxwvutsrqp"), None);
    }

    /// The whole table, as in the books.
    fn plainly(one: &[u8], other: &[u8]) -> usize {
        let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
        for row in 0..=one.len() {
            for column in 0..=other.len() {
                table[row][column] = if row == 0 || column == 0 {
                    row.max(column)
                } else {
                    let differs = usize::from(one[row - 1] != other[column - 1]);
                    let mut best = (table[row - 1][column - 1] + differs)
                        .min(table[row - 1][column] + 1)
                        .min(table[row][column - 1] + 1);
                    if row > 1
                        && column > 1
                        && one[row - 1] == other[column - 2]
                        && one[row - 2] == other[column - 1]
                    {
                        best = best.min(table[row - 2][column - 2] + 1);
                    }
                    best
                };
            }
        }
        table[one.len()][other.len()]
    }

    proptest! {
        #[test]
        fn counted_as_by_the_whole_table(one in "[a-c]{0,14}", other in "[a-c]{0,14}", bound in 1_usize..5) {
            let whole = plainly(one.as_bytes(), other.as_bytes());
            let bounded = super::distance(one.as_bytes(), other.as_bytes(), bound);
            prop_assert_eq!(bounded, (whole <= bound).then_some(whole));
        }
    }
}
