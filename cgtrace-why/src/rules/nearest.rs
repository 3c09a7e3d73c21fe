//! The names nearest to a mistyped one. The cost is bounded, whatever is compared.

use std::cmp::Reverse;

use cgtrace_paths::Name;

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
    let mut rows = Rows::default();
    for (place, other) in names.into_iter().enumerate() {
        let other = other.as_ref();
        if other == name {
            continue;
        }
        let distance = if shares_leaf(&asked, other) && akin(&asked, &cgtrace_paths::parse(other)).is_some() {
            Some(0)
        } else if counted < COUNTED && bound > 0 && wanted.len() <= LENGTH && other.len() <= LENGTH {
            counted += 1;
            rows.distance(wanted, other, bound).filter(|_| !differ_in_digits(wanted, other))
        } else {
            None
        };
        if let Some(distance) = distance {
            found.push((Near { place, distance }, common_end(wanted, other)));
            // Few enough to sort; the best of them stay.
            if found.len() >= limit.saturating_mul(4).max(64) {
                keep(&mut found, limit);
            }
        }
    }
    keep(&mut found, limit);
    found.into_iter().map(|(near, _)| near).collect()
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

fn keep(found: &mut Vec<(Near, usize)>, limit: usize) {
    found.sort_by_key(|(near, end)| (near.distance, Reverse(*end), near.place));
    found.truncate(limit);
}

/// Whether parsing may find the two akin: it costs more than this.
fn shares_leaf(asked: &Name, other: &[u8]) -> bool {
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
pub(super) fn akin(one: &Name, other: &Name) -> Option<&'static str> {
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
        let whole = |name: &Name| name.unit.as_deref().is_some_and(|unit| name.leaf() == unit.as_bytes());
        (same(&one.unit, &other.unit) && whole(one) && whole(other))
            .then_some("the same unit in another slice")
    }
}

/// How many bytes two names end with alike: of two names at one distance, the same leaf is nearer.
fn common_end(one: &[u8], other: &[u8]) -> usize {
    one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
}

/// The rows of the table of Damerau's and Levenshtein's distance (with swaps of neighbours), kept between names.
#[derive(Default)]
struct Rows {
    before: Vec<usize>,
    last: Vec<usize>,
    this: Vec<usize>,
}

impl Rows {
    /// The distance, if it is at most `bound`. Only the diagonal band that can hold it is counted.
    fn distance(&mut self, one: &[u8], other: &[u8], bound: usize) -> Option<usize> {
        if one.len().abs_diff(other.len()) > bound {
            return None;
        }
        let start = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        let (one, other) = (one.get(start..)?, other.get(start..)?);
        let end = common_end(one, other);
        let (one, other) = (one.get(..one.len() - end)?, other.get(..other.len() - end)?);
        let far = bound + 1;
        let width = other.len() + 1;
        self.last.clear();
        self.last.extend((0..width).map(|column| column.min(far)));
        self.before.clear();
        self.before.resize(width, far);
        self.this.clear();
        self.this.resize(width, far);
        for (row, byte) in one.iter().enumerate() {
            let (from, to) = (row.saturating_sub(bound), (row + bound + 1).min(other.len()));
            self.this.fill(far);
            self.this[0] = (row + 1).min(far);
            let mut least = self.this[0];
            for column in from..to {
                let replaced = self.last[column] + usize::from(*byte != other[column]);
                let swapped =
                    if row > 0 && column > 0 && *byte == other[column - 1] && one[row - 1] == other[column] {
                        self.before[column - 1] + 1
                    } else {
                        far
                    };
                let best =
                    replaced.min(self.last[column + 1] + 1).min(self.this[column] + 1).min(swapped).min(far);
                self.this[column + 1] = best;
                least = least.min(best);
            }
            if least > bound {
                return None;
            }
            std::mem::swap(&mut self.before, &mut self.last);
            std::mem::swap(&mut self.last, &mut self.this);
        }
        self.last.last().copied().filter(|distance| *distance <= bound)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distance(one: &str, other: &str) -> Option<usize> {
        Rows::default().distance(one.as_bytes(), other.as_bytes(), 8)
    }

    #[test]
    fn mistakes_are_counted() {
        assert_eq!(distance("/kubelet", "/kublet"), Some(1));
        assert_eq!(distance("/kubelet", "/kuebelt"), Some(2));
        assert_eq!(distance("/kubelet", "/kubelte"), Some(1));
        assert_eq!(distance("/a", "/a"), Some(0));
        assert_eq!(distance("/abcdefghijk", "/zyxwvutsrqp"), None);
    }

    #[test]
    fn the_nearest_come_first_and_the_same_unit_before_them() {
        let names =
            ["/system.slice/kubelets.service", "/system.slice/sshd.service", "/kube.slice/kubelet.service"];
        let near = nearest(b"/system.slice/kubelet.service", names, 5);
        let places: Vec<usize> = near.iter().map(|near| near.place).collect();
        assert_eq!(places, [2, 0]);
    }

    #[test]
    fn what_is_numbered_is_not_mistyped() {
        let names = ["/user.slice/user-1001.slice", "/b", "/user.slice/user-100.slice"];
        assert!(nearest(b"/user.slice/user-1000.slice", names, 5).is_empty());
        assert!(nearest(b"/a", names, 5).is_empty());
    }

    #[test]
    fn ten_thousand_long_names_are_soon_compared() {
        let name = |number: usize| format!("/{}{}", "a".repeat(400), "b".repeat(number % 7));
        let names: Vec<String> = (0..10_000).map(name).collect();
        let begin = std::time::Instant::now();
        assert_eq!(nearest(format!("/{}x", "a".repeat(399)).as_bytes(), &names, 5).len(), 5);
        assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
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
        fn the_band_counts_as_the_whole_table(one in "[a-c]{0,14}", other in "[a-c]{0,14}", bound in 1_usize..8) {
            let whole = plainly(one.as_bytes(), other.as_bytes());
            let banded = Rows::default().distance(one.as_bytes(), other.as_bytes(), bound);
            prop_assert_eq!(banded, (whole <= bound).then_some(whole));
        }

        #[test]
        fn any_names_are_compared(
            name in prop::collection::vec(any::<u8>(), 0..30),
            names in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..10),
            limit in 0_usize..4,
        ) {
            prop_assert!(nearest(&name, &names, limit).len() <= limit);
        }
    }
}
