//! Splits a text into words, without the punctuation around them.

use crate::mounts;

/// A word of a text.
#[derive(Debug, Default)]
pub(super) struct Word {
    pub bytes: Vec<u8>,
    /// Whether `=` or `:` follows: it names the next word.
    pub is_key: bool,
}

/// The words of a line.
#[derive(Default)]
struct Splitter {
    words: Vec<Word>,
    word: Vec<u8>,
    in_path: bool,
}

/// Splits a text at whitespace, quotes, brackets, and the `=` and `,` of flags and lists.
pub(super) fn split(text: &[u8]) -> Vec<Word> {
    let mut splitter = Splitter::default();
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let (step, length) = step(*byte, after, &splitter);
        match step {
            Step::Part(part) => splitter.push(part),
            Step::End => splitter.end(),
            Step::EndOfKey => splitter.end_of_key(),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    splitter.end();
    splitter.words
}

/// What a byte does.
enum Step {
    /// It is a part of the word.
    Part(u8),
    /// It ends the word.
    End,
    /// It ends the word, which names the next one.
    EndOfKey,
}

/// What the next byte does, and how many bytes do it together.
fn step(byte: u8, after: &[u8], splitter: &Splitter) -> (Step, usize) {
    match (byte, after) {
        // JSON escapes a slash, a quote, a backslash and a newline. systemd's `\x2d` is a part of the name.
        (b'\\', [b'/', ..]) => (Step::Part(b'/'), 2),
        (b'\\', [b'\\', ..]) => (Step::Part(b'\\'), 2),
        (b'\\', [b'"' | b'\'' | b'n' | b't' | b'r', ..]) => (Step::End, 2),
        // Typographic quotes, dashes and ellipses, arrows, box drawing and bullets: U+2010 to U+203F, U+2190 to
        // U+21FF, U+2500 to U+25FF.
        (0xe2, [0x80, 0x90..=0xbf, ..] | [0x86 | 0x87 | 0x94..=0x97, _, ..]) => (Step::End, 3),
        (
            b'"' | b'\'' | b'`' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'|' | b';' | b'*',
            _,
        ) => (Step::End, 1),
        // `1:name=systemd:/x` of /proc/PID/cgroup.
        (b'=', _) if splitter.in_path || is_named_hierarchy(&splitter.word) => (Step::Part(byte), 1),
        (b'=', _) => (Step::EndOfKey, 1),
        (b',', _) if !mounts::begins_with_controller(after) => (Step::End, 1),
        (byte, _) if byte.is_ascii_whitespace() || byte.is_ascii_control() => (Step::End, 1),
        (byte, _) => (Step::Part(byte), 1),
    }
}

/// Whether it is the `1:name` of a line in /proc/PID/cgroup.
fn is_named_hierarchy(word: &[u8]) -> bool {
    word.strip_suffix(b":name").is_some_and(|id| !id.is_empty() && id.iter().all(u8::is_ascii_digit))
}

impl Splitter {
    fn push(&mut self, byte: u8) {
        self.in_path |= byte == b'/';
        self.word.push(byte);
    }

    fn end(&mut self) {
        let mut is_key = false;
        while matches!(self.word.last(), Some(b'.' | b',' | b':' | b'!' | b'?' | b'\\'))
            && !self.word.ends_with(b"/..")
        {
            is_key |= self.word.pop() == Some(b':');
        }
        self.in_path = false;
        if !self.word.is_empty() {
            self.words.push(Word { bytes: std::mem::take(&mut self.word), is_key });
        } else if is_key {
            // The colon of `"key": value`.
            self.mark_key();
        }
    }

    fn end_of_key(&mut self) {
        self.end();
        self.mark_key();
    }

    fn mark_key(&mut self) {
        if let Some(last) = self.words.last_mut() {
            last.is_key = true;
        }
    }
}
