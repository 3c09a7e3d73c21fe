//! The paths nearest to a mistyped one, at a bounded cost for any input.

use std::cmp::Reverse;

use super::similarity::{may_be_same_object, similarity};

/// Longer paths are not compared.
const MAX_LENGTH: usize = 512;
/// The number of paths whose distance is computed.
const MAX_COMPARED: usize = 20_000;

/// A path near the given one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearPath {
    /// Its index in the list.
    pub index: usize,
    /// The number of bytes to insert, delete, replace or swap; 0 for the same unit, pod or container in
    /// another cgroup, and for the same path below another.
    pub distance: usize,
}

/// Up to `limit` of the paths, the nearest first: those of the same unit, pod, container or slice, then those within
/// a distance of a third of the length of the given path's last component, or 4, whichever is less. Paths
/// that differ only in digits name different objects and are skipped, as is the given path itself.
pub fn nearest<P: AsRef<[u8]>>(
    given: &[u8],
    paths: impl IntoIterator<Item = P>,
    limit: usize,
) -> Vec<NearPath> {
    let parsed = cgtrace_paths::parse(given);
    let path: &[u8] = parsed.without_directory();
    // The unit's type, which all units share, does not make `sshd.service` similar to `kubelet.service`.
    let bound = (stem(parsed.leaf()).len() / 3).min(4);
    let mut compared = 0;
    let mut found: Vec<(NearPath, usize)> = Vec::new();
    for (index, other) in paths.into_iter().enumerate() {
        let other = other.as_ref();
        if other == given {
            continue;
        }
        let distance = if may_be_same_object(&parsed, other)
            && similarity(&parsed, &cgtrace_paths::parse_exact(other)).is_some()
        {
            Some(0)
        } else if compared < MAX_COMPARED
            && bound > 0
            && path.len() <= MAX_LENGTH
            && other.len() <= MAX_LENGTH
        {
            compared += 1;
            distance(path, other, bound).filter(|_| !differ_in_digits(path, other))
        } else {
            None
        };
        found.extend(distance.map(|distance| (NearPath { index, distance }, common_suffix_len(path, other))));
    }
    // At the same distance, the one with the longer common suffix is nearer.
    found.sort_by_key(|(near, suffix)| (near.distance, Reverse(*suffix), near.index));
    found.into_iter().map(|(near, _)| near).take(limit).collect()
}

/// A component without the unit's type.
fn stem(component: &[u8]) -> &[u8] {
    let types = cgtrace_paths::UNIT_TYPES.into_iter().chain([".slice"]);
    types.into_iter().find_map(|end| component.strip_suffix(end.as_bytes())).unwrap_or(component)
}

fn differ_in_digits(one: &[u8], other: &[u8]) -> bool {
    let letters =
        |name: &[u8]| name.iter().copied().filter(|byte| !byte.is_ascii_digit()).collect::<Vec<_>>();
    letters(one) == letters(other)
}

fn common_suffix_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
}

/// The Damerau-Levenshtein distance (with swaps of adjacent bytes), if it is at most `bound`. For each number
/// of mistakes, the algorithm computes how far every diagonal of the table is reached; the corner is on
/// diagonal `bound`.
fn distance(one: &[u8], other: &[u8], bound: usize) -> Option<usize> {
    let goal = (other.len() + bound).checked_sub(one.len()).filter(|goal| *goal <= 2 * bound)?;
    // The rest of both from a row on.
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
    fn distance_counts_mistakes() {
        assert_eq!(distance("/kubelet", "/kublet"), Some(1));
        assert_eq!(distance("/kubelet", "/kuebelt"), Some(2));
        assert_eq!(distance("/kubelet", "/kubelte"), Some(1));
        assert_eq!(distance("/a", "/a"), Some(0));
        assert_eq!(distance("/abcdefghijk", "/zyxwvutsrqp"), None);
    }

    /// The textbook algorithm, with the whole table.
    fn textbook(one: &[u8], other: &[u8]) -> usize {
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
        fn agrees_with_the_textbook_algorithm(one in "[a-c]{0,14}", other in "[a-c]{0,14}", bound in 1_usize..5) {
            let whole = textbook(one.as_bytes(), other.as_bytes());
            let bounded = super::distance(one.as_bytes(), other.as_bytes(), bound);
            prop_assert_eq!(bounded, (whole <= bound).then_some(whole));
        }
    }
}
