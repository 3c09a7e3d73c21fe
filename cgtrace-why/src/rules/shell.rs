//! Quoting of untrusted text, so that it is neither executed when output is pasted into a shell nor
//! interpreted by a terminal.

use std::fmt::Write as _;

use cgtrace_client::paths;

/// Formats a text as one word of a shell command line, in quotes if necessary.
#[must_use]
pub fn shell_word(text: &str) -> String {
    shell_bytes(text.as_bytes())
}

/// Like [`shell_word`], for bytes that need not be UTF-8.
pub(crate) fn shell_bytes(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-:@,=+".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        _ => quoted(bytes),
    }
}

/// One word in quotes: `'…'`, or `$'…'` if it contains anything that a terminal would not show literally.
pub(super) fn quoted(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && paths::escape(bytes) == text
    {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    let mut word = "$'".to_owned();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let text: &str = character.encode_utf8(&mut buffer);
            match character {
                '\\' | '\'' => {
                    word.push('\\');
                    word.push(character);
                }
                _ if paths::escape(text.as_bytes()) == text => word.push(character),
                _ => escape(&mut word, text.as_bytes()),
            }
        }
        escape(&mut word, chunk.invalid());
    }
    word.push('\'');
    word
}

fn escape(word: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(word, "\\x{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_quoted_if_necessary() {
        assert_eq!(shell_word("/system.slice/x.service"), "/system.slice/x.service");
        assert_eq!(shell_word("/a b"), "'/a b'");
        assert_eq!(shell_word("/a'b"), "'/a'\\''b'");
        assert_eq!(shell_word("/a\\x2db"), "'/a\\x2db'");
        assert_eq!(shell_word("/$(reboot)`reboot`"), "'/$(reboot)`reboot`'");
        assert_eq!(shell_word("/a\x1b[\u{202e}'\\"), "$'/a\\x1b[\\xe2\\x80\\xae\\'\\\\'");
        assert_eq!(shell_bytes(b"/a\xff"), "$'/a\\xff'");
        assert_eq!(shell_word(""), "''");
        assert_eq!(quoted(b"/a"), "'/a'");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn bash_reads_the_original_bytes(bytes in prop::collection::vec(prop_oneof![1_u8..=255, prop::sample::select(&b"'\\$`\" \n\x1b"[..])], 0..20)) {
            let Ok(output) = Command::new("bash").args(["-c", &format!("printf %s {}", shell_bytes(&bytes))]).output() else {
                return Ok(());
            };
            prop_assert_eq!(output.stdout, bytes);
        }
    }
}
