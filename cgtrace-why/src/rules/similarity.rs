//! Why two paths are of the same object, which a typing error cannot explain.

use cgtrace_paths::{ParsedPath, Runtime, Spelling, expand_slice, spellings};

use super::wording;

/// A cheap test that spares most paths the cost of parsing.
pub(super) fn may_be_same_object(given: &ParsedPath, other: &[u8]) -> bool {
    let has = |text: &[u8]| {
        !text.is_empty()
            && other.len() >= text.len()
            && other.windows(text.len()).any(|window| window == text)
    };
    let path = given.without_directory();
    given.unit.as_deref().is_some_and(|unit| has(unit.as_bytes()))
        || given.container_id.as_deref().is_some_and(|id| has(id.as_bytes()))
        // The cgroup drivers write the dashes of a uid differently; its first part is the same.
        || given.pod_uid.as_deref().and_then(|uid| uid.split('-').next()).is_some_and(|part| has(part.as_bytes()))
        || slice(given).is_some_and(|slice| has(slice.as_bytes()))
        || short_id(given).is_some_and(|id| has(id.as_bytes()))
        || other.ends_with(path)
        || other.starts_with(without_number(path))
}

/// How the other path is of the same object as the given one.
pub(super) fn similarity(given: &ParsedPath, other: &ParsedPath) -> Option<String> {
    let below = || below(given, other);
    let same = || same_object(given, other).map(str::to_owned);
    doubled(given, other).or_else(|| numbered(given, other)).or_else(below).or_else(same)
}

/// The other path is the given one with a part repeated.
fn doubled(given: &ParsedPath, other: &ParsedPath) -> Option<String> {
    let path = given.without_directory();
    let is_longer =
        other.path.len() > path.len() && (other.path.ends_with(path) || other.path.starts_with(path));
    let mut variants = is_longer.then(|| spellings(other, &other.path)).into_iter().flatten();
    let is_doubled = variants.any(|variant| variant.spelling == Spelling::Doubled && variant.path == path);
    is_doubled.then(|| "the same path with a part doubled".to_owned())
}

/// One of the paths has the number that LXC adds if a cgroup with the container's name exists.
fn numbered(given: &ParsedPath, other: &ParsedPath) -> Option<String> {
    let is_lxc = |path: &ParsedPath| path.runtime == Some(Runtime::Lxc);
    let path = given.without_directory();
    let differ = path != other.path && is_lxc(given) && is_lxc(other);
    let [one, two] = [without_number(path), without_number(&other.path)];
    let same = differ && (one == other.path || two == path || (one == two && one != path));
    same.then(|| "LXC adds a number to the name if a cgroup with that name is left over".to_owned())
}

/// The path without the number at its end: `/lxc/c1` of `/lxc/c1-1`.
fn without_number(path: &[u8]) -> &[u8] {
    let digits = path.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let before = path.get(..path.len() - digits).unwrap_or_default();
    before.strip_suffix(b"-").filter(|_| digits > 0).unwrap_or(path)
}

/// The other path ends with the given one: what created it took the cgroup of a container, a pod or a unit for the
/// root.
fn below(given: &ParsedPath, other: &ParsedPath) -> Option<String> {
    let path = given.without_directory();
    let above = other.path.strip_suffix(path).filter(|above| !above.is_empty() && path.len() > 1)?;
    let ParsedPath { unit, pod_uid, container_id, .. } = cgtrace_paths::parse_exact(above);
    let is_root = unit.is_some() || pod_uid.is_some() || container_id.is_some();
    let is_deep = path.split(|byte| *byte == b'/').count() > 2;
    let above = wording::quoted(&String::from_utf8_lossy(above));
    (is_root || is_deep).then(|| format!("the same path below {above}"))
}

/// The kind of object that both paths belong to.
fn same_object(one: &ParsedPath, other: &ParsedPath) -> Option<&'static str> {
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    if one.container_id.is_some() || other.container_id.is_some() {
        let ids = same(&one.container_id, &other.container_id);
        let leaf = one.container_id.as_ref().is_some_and(|id| id.len() == 64);
        let begins = short_id(one)
            .is_some_and(|id| other.container_id.as_ref().is_some_and(|whole| whole.starts_with(id)));
        if ids && leaf {
            return Some("the same container");
        }
        begins.then_some("the container whose id begins like this")
    } else if one.pod_uid.is_some() || other.pod_uid.is_some() {
        same(&one.pod_uid, &other.pod_uid).then_some("the same pod")
    } else if one.user_unit.is_some() || other.user_unit.is_some() {
        None
    } else if slice(one).is_some() {
        (slice(one) == slice(other)).then_some("the same slice in another place")
    } else {
        let whole =
            |name: &ParsedPath| name.unit.as_deref().is_some_and(|unit| name.leaf() == unit.as_bytes());
        (same(&one.unit, &other.unit) && whole(one) && whole(other))
            .then_some("the same unit in another slice")
    }
}

/// The beginning of a container's id that a path ends in, as `docker ps` prints it.
fn short_id(path: &ParsedPath) -> Option<&str> {
    let leaf = std::str::from_utf8(path.leaf()).ok().filter(|leaf| (12..64).contains(&leaf.len()))?;
    leaf.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(leaf)
}

/// The slice that a path ends in.
fn slice(path: &ParsedPath) -> Option<&str> {
    std::str::from_utf8(path.leaf()).ok().filter(|leaf| expand_slice(leaf).is_some())
}
