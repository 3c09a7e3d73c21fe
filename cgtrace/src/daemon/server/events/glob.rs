//! A glob over whole paths.

use globset::GlobBuilder;
use regex_automata::{
    Anchored, Input,
    nfa::thompson::{
        NFA, WhichCaptures,
        backtrack::{self, BoundedBacktracker},
    },
    util::syntax,
};

/// Maximum length of a glob. Compiling one of this length takes up to 5 ms, during which no other client is
/// served.
const MAX_BYTES: usize = 1 << 10;

/// Maximum size of a compiled glob: nested `{…}` do not multiply it, but a class may have many ranges.
const MAX_COMPILED_BYTES: usize = 1 << 20;

/// Maximum number of steps of a match, of about 2 ns each. It is also the number of bits in the set of
/// visited states.
pub const MAX_STEPS: usize = 1 << 20;

/// A compiled glob. The matcher visits each state at most once per byte and builds no automaton while
/// matching, so that its memory and time are known in advance.
#[derive(Clone, Debug)]
pub struct Glob {
    machine: BoundedBacktracker,
    /// Every match starts with this literal.
    prefix: Box<[u8]>,
    /// Every match ends with this literal.
    suffix: Box<[u8]>,
}

impl Glob {
    /// Compiles a glob, or returns what is wrong with it.
    pub fn new(glob: &str) -> Result<Self, String> {
        if glob.len() > MAX_BYTES {
            return Err(format!("longer than {MAX_BYTES} bytes"));
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

    /// The size in memory, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.prefix.len() + self.suffix.len() + self.machine.get_nfa().memory_usage()
    }

    /// Whether the glob matches a path; `None` if the match may take more than the remaining steps.
    pub fn matches(&self, path: &[u8], steps: &mut usize) -> Option<bool> {
        if !path.starts_with(&self.prefix) || !path.ends_with(&self.suffix) {
            return Some(false);
        }
        *steps = steps.checked_sub(path.len() * self.machine.get_nfa().states().len())?;
        let mut cache = self.machine.create_cache();
        self.machine.try_is_match(&mut cache, Input::new(path).anchored(Anchored::Yes)).ok()
    }
}

/// Rewrites the classes of an expression so that they do not match `/`, as in glob(7). All other brackets are
/// escaped.
fn within_components(expression: &str) -> Result<String, String> {
    let mut within = String::with_capacity(expression.len() * 2);
    let (mut escaped, mut in_class) = (false, false);
    for character in expression.chars() {
        match character {
            '[' if !escaped => within.push_str("[["),
            ']' if !escaped => within.push_str("]&&[^/]]"),
            // A byte of a multibyte character.
            'x' if escaped && in_class => {
                return Err("character classes support ASCII characters only".to_owned());
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
    fn globs_follow_glob_7_with_braces_and_double_stars() {
        for (glob, yes, no) in [
            // A star does not match a slash, unless two of them are a component.
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
    fn paths_that_are_not_utf_8_are_matched_by_byte() {
        let glob = Glob::new("/a*\u{e9}").unwrap();
        assert_eq!(glob.matches(b"/a\xff\n\xc3\xa9", &mut usize::MAX.clone()), Some(true));
        assert_eq!(glob.matches(b"/a\xff\xa9", &mut usize::MAX.clone()), Some(false));
    }

    #[test]
    fn a_costly_match_stops_at_the_step_limit() {
        let glob = Glob::new(&"/**/*a*".repeat(100)).unwrap();
        let mut steps = MAX_STEPS;
        assert_eq!(glob.matches("/a".repeat(2_000).as_bytes(), &mut steps), None);
        assert!(Glob::new(&"*a".repeat(1 << 10)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn new_and_matches_never_panic(glob in "[/a*?{},!\\[\\]-]{0,24}", path in "[/ab]{0,12}") {
            if let Ok(glob) = Glob::new(&glob) {
                let _ = glob.matches(path.as_bytes(), &mut 100_000);
            }
        }
    }
}
