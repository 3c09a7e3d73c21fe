//! Paths of cgroups: as bytes, on the wire and on a terminal.

use std::fmt::Write as _;

/// The longest component of a path, in bytes.
///
/// The argument of mkdir(2) is at most `PATH_MAX` with its NUL; kernfs has no limit of its own.
///
/// ```
/// assert!(cgtrace_client::paths::normalize(&[b"/".as_slice(), &[b'a'; 4_096]].concat()).is_err());
/// ```
pub const COMPONENT_MAX: usize = 4_095;

/// The prefix of a path that is not UTF-8 on the wire; two digits per byte follow.
const HEX: &str = "hex:";

/// The error for a path that no cgroup can have.
///
/// ```
/// let wrong = cgtrace_client::paths::from_wire("system.slice").unwrap_err();
/// assert_eq!(wrong.expected, "/system.slice");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, thiserror::Error)]
#[error("invalid cgroup path `{path}`: {reason}; expected {expected}")]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct InvalidPath {
    /// The invalid path, as text.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
    /// What would be right.
    pub expected: String,
}

/// Decodes a path from the wire: text, or `hex:` and digits.
///
/// ```
/// assert_eq!(cgtrace_client::paths::from_wire("hex:2f61ff"), Ok(b"/a\xff".to_vec()));
/// ```
pub fn from_wire(name: &str) -> Result<Vec<u8>, InvalidPath> {
    let Some(digits) = name.strip_prefix(HEX) else { return normalize(name.as_bytes()) };
    let bytes = unhex(digits).ok_or_else(|| InvalidPath {
        path: name.to_owned(),
        reason: "`hex:` must be followed by two hexadecimal digits per byte".to_owned(),
        expected: format!("{HEX}{}", hex(b"/system.slice")),
    })?;
    normalize(&bytes)
}

/// Encodes a path for the wire.
///
/// ```
/// assert_eq!(cgtrace_client::paths::to_wire(b"/a\xff"), "hex:2f61ff");
/// assert_eq!(cgtrace_client::paths::to_wire(b"/system.slice"), "/system.slice");
/// ```
#[must_use]
pub fn to_wire(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{HEX}{}", hex(name)),
    }
}

/// Checks a path and normalizes it to `/`, or `/` before each component.
///
/// ```
/// assert_eq!(cgtrace_client::paths::normalize(b"/a/b/"), Ok(b"/a/b".to_vec()));
/// assert!(cgtrace_client::paths::normalize(b"a/b").is_err());
/// ```
pub fn normalize(name: &[u8]) -> Result<Vec<u8>, InvalidPath> {
    let components: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    let rooted = |components: &[&[u8]]| [b"/", &*components.join(&b'/')].concat();
    let is_dots = |component: &&[u8]| matches!(*component, b"." | b"..");
    let example = || b"/system.slice/kubelet.service".to_vec();
    let (reason, expected) = if name.is_empty() {
        ("it is empty", example())
    } else if name.contains(&0) || name.contains(&b'\n') {
        ("it has a NUL or a newline", example())
    } else if components.iter().any(is_dots) {
        let others: Vec<&[u8]> = components.into_iter().filter(|component| !is_dots(component)).collect();
        ("it has the component `.` or `..`", rooted(&others))
    } else if name[0] != b'/' {
        ("it does not begin with `/`, the root of its hierarchy", rooted(&components))
    } else if components.iter().any(|component| component.len() > COMPONENT_MAX) {
        ("one of its components has more than 4095 bytes", example())
    } else if name.windows(2).any(|pair| pair == b"//") {
        ("it has an empty component", rooted(&components))
    } else {
        return Ok(rooted(&components));
    };
    Err(InvalidPath { path: escape(name), reason: reason.to_owned(), expected: escape(&expected) })
}

/// Bytes as text for the wire, and as digits if the text is not exact.
///
/// Valid UTF-8 is unchanged: JSON can express control characters. Otherwise invalid bytes become `\xff` and a
/// backslash becomes `\\`.
///
/// ```
/// let (text, digits) = cgtrace_client::paths::as_text(b"/a\xff");
/// assert_eq!((text.as_str(), digits.as_deref()), ("/a\\xff", Some("2f61ff")));
/// ```
#[must_use]
pub fn as_text(bytes: &[u8]) -> (String, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => {
            let mut text = String::with_capacity(bytes.len() + 8);
            for chunk in bytes.utf8_chunks() {
                for character in chunk.valid().chars() {
                    match character {
                        '\\' => text.push_str("\\\\"),
                        other => text.push(other),
                    }
                }
                escape_bytes(&mut text, chunk.invalid());
            }
            (text, Some(hex(bytes)))
        }
    }
}

/// Escapes bytes for a terminal: control characters, bidirectional controls and bytes that are not UTF-8.
///
/// ```
/// assert_eq!(cgtrace_client::paths::escape(b"/a\x1b[31m"), "/a\\x1b[31m");
/// ```
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_harmless(character) {
                text.push(character);
            } else if (character as u32) < 0x100 {
                escape_bytes(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                let _ = write!(text, "\\u{{{:x}}}", character as u32);
            }
        }
        escape_bytes(&mut text, chunk.invalid());
    }
    text
}

fn is_harmless(character: char) -> bool {
    !character.is_control()
        // Zero-width, line and paragraph separators, bidirectional controls, the byte order mark.
        && !matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' | '\u{61c}')
}

fn escape_bytes(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// Encodes bytes as two lower-case hexadecimal digits each.
///
/// ```
/// assert_eq!(cgtrace_client::paths::hex(b"/a"), "2f61");
/// ```
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// Decodes the digits of [`hex`].
///
/// ```
/// assert_eq!(cgtrace_client::paths::unhex("2f61").as_deref(), Some(&b"/a"[..]));
/// assert_eq!(cgtrace_client::paths::unhex("2f6"), None);
/// ```
#[must_use]
pub fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |digit: u8| (digit as char).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits.chunks(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    proptest::proptest! {
        #[test]
        fn printable_is_harmless(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..80)) {
            assert!(super::escape(&bytes).chars().all(super::is_harmless));
        }
    }
}
