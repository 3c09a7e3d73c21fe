//! systemd's units and slices in cgroup paths (`src/basic/cgroup-util.c`, `src/basic/unit-name.c`).

use std::fmt::Write as _;

use super::ascii;

/// The suffixes of units that have cgroups, other than slices.
pub const UNIT_TYPES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

const SLICE: &str = ".slice";
/// `UNIT_NAME_MAX` of systemd.
const UNIT_NAME_MAX: usize = 255;

/// What a path proves about units.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub unit: Option<String>,
    pub user_unit: Option<String>,
    pub slice: Option<String>,
}

/// A path has leading slices, then a unit; the same again inside the unit of a user manager. Names below a
/// unit's own cgroup are arbitrary.
pub(super) fn read(components: &[&[u8]]) -> Units {
    let (slice, rest) = skip_slices(components);
    let Some((unit, below)) = rest.split_first().and_then(|(first, below)| Some((unit(first)?, below)))
    else {
        return Units { slice, ..Units::default() };
    };
    let user_unit = if unit.starts_with("user@") {
        let (_, rest) = skip_slices(below);
        rest.first().and_then(|first| self::unit(first))
    } else {
        None
    };
    Units { unit: Some(unit), user_unit, slice }
}

/// The innermost leading slice, and the rest of the components.
fn skip_slices<'a, 'b>(components: &'b [&'a [u8]]) -> (Option<String>, &'b [&'a [u8]]) {
    let count = components.iter().take_while(|component| slice(component).is_some()).count();
    let innermost = count.checked_sub(1).and_then(|last| slice(components.get(last)?));
    (innermost, components.get(count..).unwrap_or_default())
}

fn slice(component: &[u8]) -> Option<String> {
    let text = ascii(component)?;
    let text = text.strip_prefix('_').unwrap_or(text);
    expand_slice(text).map(|_| text.to_owned())
}

fn unit(component: &[u8]) -> Option<String> {
    let text = ascii(component)?;
    // systemd prefixes a name with `_` if it could be mistaken for a file of cgroupfs (`cg_escape`).
    let text = text.strip_prefix('_').unwrap_or(text);
    is_unit(text).then(|| text.to_owned())
}

/// Whether it is a valid name of a unit other than a slice.
#[must_use]
pub fn is_unit(text: &str) -> bool {
    UNIT_TYPES.iter().any(|end| text.strip_suffix(end).is_some_and(valid_stem)) && text.len() <= UNIT_NAME_MAX
}

fn valid_stem(stem: &str) -> bool {
    !stem.is_empty()
        && !stem.starts_with('@')
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}

/// The path of a slice: `/a.slice/a-b.slice` for `a-b.slice`; `/` for the root slice `-.slice`; `None` if it
/// is not a slice.
#[must_use]
pub fn expand_slice(slice: &str) -> Option<String> {
    let stem = slice.strip_suffix(SLICE).filter(|_| slice.len() <= UNIT_NAME_MAX)?;
    if stem == "-" {
        return Some("/".to_owned());
    }
    if !valid_stem(stem) || stem.contains('@') || stem.split('-').any(str::is_empty) {
        return None;
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    Some(ends.fold(String::new(), |mut path, end| {
        let _ = write!(path, "/{}{SLICE}", stem.get(..end).unwrap_or_default());
        path
    }))
}

/// Undoes systemd's escaping in the name of a unit: `\x2d` is `-`.
#[must_use]
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, escaped(after)) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The byte that `xHH` encodes.
fn escaped(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"x")?.get(..2)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?, 16).ok()
}

/// Escapes a text for use as a part of a unit's name, as systemd does.
#[must_use]
pub fn escape(text: &str) -> String {
    text.bytes().enumerate().fold(String::with_capacity(text.len()), |mut escaped, (at, byte)| {
        let plain = byte.is_ascii_alphanumeric() || b":_".contains(&byte) || (byte == b'.' && at > 0);
        if byte == b'/' {
            escaped.push('-');
        } else if plain {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "\\x{byte:02x}");
        }
        escaped
    })
}
