//! One glob over whole paths.

use globset::GlobBuilder;
use regex_automata::{
    Anchored, Input,
    nfa::thompson::{
        NFA, WhichCaptures,
        backtrack::{self, BoundedBacktracker},
    },
    util::syntax,
};

/// Bytes of a glob. Compiling one of this length takes up to 5 ms, in which no one else is served.
const MAX_BYTES: usize = 1 << 10;

/// Bytes of a compiled glob: `{…}` within `{…}` multiply nothing, but a class may have many ranges.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// A match that may take more steps, of some 2 ns each, is given up. It is the bits of what the matcher has visited.
pub const MAX_STEPS: usize = 1 << 20;

/// A compiled glob. The matcher visits each state once for each byte at most, and builds no automaton meanwhile: what it
/// takes is known beforehand, in bytes and in time.
#[derive(Clone, Debug)]
pub struct Glob {
    machine: BoundedBacktracker,
    /// Every match begins and ends with these.
    prefix: Box<[u8]>,
    suffix: Box<[u8]>,
}

impl Glob {
    /// Compiles a glob; what is wrong with it else.
    pub fn new(glob: &str) -> Result<Self, String> {
        if glob.len() > MAX_BYTES {
            return Err(format!("it has more than {MAX_BYTES} bytes"));
        }
        let read = GlobBuilder::new(glob)
            .literal_separator(true)
            .backslash_escape(false)
            .empty_alternates(true)
            .build()
            .map_err(|error| error.kind().to_string())?;
        let machine = BoundedBacktracker::builder()
            .configure(backtrack::Config::new().visited_capacity(MAX_STEPS / 8))
            .syntax(syntax::Config::new().utf8(false).dot_matches_new_line(true))
            .thompson(
                NFA::config()
                    .utf8(false)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(MAX_COMPILED_BYTES)),
            )
            .build(&within_components(read.regex())?)
            .map_err(|error| error.to_string())?;
        let prefix = glob.split(['*', '?', '[', '{']).next().unwrap_or_default();
        let suffix = glob.rsplit(['*', '?', ']', '}']).next().unwrap_or_default();
        Ok(Self { machine, prefix: prefix.as_bytes().into(), suffix: suffix.as_bytes().into() })
    }

    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.prefix.len() + self.suffix.len() + self.machine.get_nfa().memory_usage()
    }

    /// Whether it matches a path; `None` if that may take more than the steps that are left.
    pub fn matches(&self, path: &[u8], steps: &mut usize) -> Option<bool> {
        if !path.starts_with(&self.prefix) || !path.ends_with(&self.suffix) {
            return Some(false);
        }
        *steps = steps.checked_sub(path.len() * self.machine.get_nfa().states().len())?;
        let mut cache = self.machine.create_cache();
        self.machine.try_is_match(&mut cache, Input::new(path).anchored(Anchored::Yes)).ok()
    }
}

/// The expression with classes that do not match `/`, as in glob(7). Its other brackets are escaped.
fn within_components(expression: &str) -> Result<String, String> {
    let mut within = String::with_capacity(expression.len() * 2);
    let (mut escaped, mut in_class) = (false, false);
    for character in expression.chars() {
        match character {
            '[' if !escaped => within.push_str("[["),
            ']' if !escaped => within.push_str("]&&[^/]]"),
            // A byte of a longer character.
            'x' if escaped && in_class => {
                return Err("a character class has ASCII characters only".to_owned());
            }
            other => within.push(other),
        }
        in_class = if escaped { in_class } else { character == '[' || in_class && character != ']' };
        escaped = character == '\\' && !escaped;
    }
    Ok(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        Glob::new(glob).unwrap().matches(path.as_bytes(), &mut usize::MAX.clone()).unwrap()
    }

    #[test]
    fn globs_are_as_usual() {
        for (glob, yes, no) in [
            // A star stops at a slash, unless two of them are a component.
            ("/a/*.service", &["/a/x.service", "/a/.service"][..], &["/a/b/x.service", "/a/x.slice"][..]),
            ("/a/**/x", &["/a/x", "/a/b/x", "/a/b/c/x"], &["/ax", "/a/bx", "/a/b/c"]),
            ("**/x", &["/x", "/b/c/x"], &["/bx"]),
            ("/a/**", &["/a/b", "/a/b/c", "/a/"], &["/a", "/ab"]),
            ("/**", &["/", "/a", "/a/b"], &[]),
            ("**", &["/", "/a/b"], &[]),
            ("/a**b", &["/ab", "/axxb"], &["/a/b"]),
            ("/a/**/**", &["/a/b", "/a/b/c"], &["/a"]),
            ("/a/**/**/b", &["/a/b", "/a/x/y/b"], &["/ab"]),
            ("/?", &["/a"], &["/", "/ab", "//"]),
            ("/[a-c]", &["/a", "/c"], &["/d", "/-"]),
            ("/[!a-c]", &["/d"], &["/a", "//"]),
            ("/[]a]", &["/]", "/a"], &["/b"]),
            ("/[a-]", &["/a", "/-"], &["/b"]),
            ("/[x\\]é", &["/xé", "/\\é"], &["/aé"]),
            ("/{a,bc,}x", &["/ax", "/bcx", "/x"], &["/bx"]),
            ("/{a,{b,c}*}/z", &["/a/z", "/bq/z", "/c/z"], &["/d/z"]),
            ("/{**/a,b}", &["/x/a", "/b"], &["/x/b"]),
            ("/dev\\x2d*.slice", &["/dev\\x2ddisk.slice"], &["/dev-disk.slice"]),
        ] {
            for path in yes {
                assert!(matches(glob, path), "{glob} {path}");
            }
            for path in no {
                assert!(!matches(glob, path), "{glob} {path}");
            }
        }
        for wrong in ["/[", "/[a", "/{a", "/a}", "/[z-a]", "/[é]"] {
            assert!(Glob::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_matched_by_bytes() {
        let glob = Glob::new("/a*\u{e9}").unwrap();
        assert_eq!(glob.matches(b"/a\xff\n\xc3\xa9", &mut usize::MAX.clone()), Some(true));
        assert_eq!(glob.matches(b"/a\xff\xa9", &mut usize::MAX.clone()), Some(false));
    }

    #[test]
    fn a_costly_match_ends_with_its_steps() {
        let glob = Glob::new(&"/**/*a*".repeat(100)).unwrap();
        let mut steps = MAX_STEPS;
        assert_eq!(glob.matches("/a".repeat(2_000).as_bytes(), &mut steps), None);
        assert!(Glob::new(&"*a".repeat(1 << 10)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(glob in "[/a*?{},!\\[\\]-]{0,24}", path in "[/ab]{0,12}") {
            if let Ok(glob) = Glob::new(&glob) {
                let _ = glob.matches(path.as_bytes(), &mut 100_000);
            }
        }
    }
}
