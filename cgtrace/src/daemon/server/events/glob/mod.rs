//! Globs over paths as bytes. A glob takes memory in proportion to its length, whatever it is matched with, and a match
//! takes at most its length times the path's.
//!
//! The syntax is that of globset with `literal_separator` and without `backslash_escape`: systemd's names are full of
//! backslashes (`dev-disk\x2d1.slice`).

mod parse;

use parse::{Class, Parser, Token};

/// The operations of a compiled glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Byte(u8),
    /// Any byte but `/`.
    Any,
    /// A byte of that class.
    Class(u16),
    /// Bytes other than `/`, as many as there are.
    Star,
    /// Bytes, as many as there are.
    Globstar,
    /// Go on at both.
    Split(u32, u32),
    Jump(u32),
    Match,
}

/// A compiled glob.
#[derive(Clone, Debug)]
pub struct Glob {
    ops: Box<[Op]>,
    classes: Box<[Class]>,
    /// Every match begins and ends with these.
    prefix: Box<[u8]>,
    suffix: Box<[u8]>,
}

#[derive(Default)]
struct Compiler {
    ops: Vec<Op>,
    classes: Vec<Class>,
}

impl Compiler {
    fn here(&self) -> u32 {
        u32::try_from(self.ops.len()).unwrap_or(u32::MAX)
    }

    fn set(&mut self, at: u32, op: Op) {
        if let Some(slot) = self.ops.get_mut(at as usize) {
            *slot = op;
        }
    }

    fn add(&mut self, tokens: &[Token]) {
        for token in tokens {
            match token {
                Token::Byte(byte) => self.ops.push(Op::Byte(*byte)),
                Token::Any => self.ops.push(Op::Any),
                Token::Star => self.ops.push(Op::Star),
                Token::Class(class) => {
                    let known = self.classes.iter().position(|known| known == class);
                    let number = known.unwrap_or_else(|| {
                        self.classes.push(*class);
                        self.classes.len() - 1
                    });
                    self.ops.push(Op::Class(u16::try_from(number).unwrap_or(u16::MAX)));
                }
                // `/?` or `.*/`.
                Token::LeadingGlobstar => {
                    let start = self.here();
                    self.ops.extend([
                        Op::Split(start + 1, start + 4),
                        Op::Split(start + 2, start + 6),
                        Op::Byte(b'/'),
                        Op::Jump(start + 6),
                        Op::Globstar,
                        Op::Byte(b'/'),
                    ]);
                }
                // `/` or `/.*/`.
                Token::MiddleGlobstar => {
                    let start = self.here();
                    self.ops.extend([
                        Op::Byte(b'/'),
                        Op::Split(start + 2, start + 4),
                        Op::Globstar,
                        Op::Byte(b'/'),
                    ]);
                }
                Token::TrailingGlobstar => self.ops.extend([Op::Byte(b'/'), Op::Globstar]),
                Token::OneOf(branches) => self.one_of(branches),
            }
        }
    }

    fn one_of(&mut self, branches: &[Vec<Token>]) {
        let mut ends = Vec::new();
        for (number, branch) in branches.iter().enumerate() {
            let split = self.here();
            let last = number + 1 == branches.len();
            if !last {
                self.ops.push(Op::Match);
            }
            self.add(branch);
            if !last {
                ends.push(self.here());
                self.ops.push(Op::Match);
                self.set(split, Op::Split(split + 1, self.here()));
            }
        }
        let end = self.here();
        for at in ends {
            self.set(at, Op::Jump(end));
        }
    }
}

impl Glob {
    /// Compiles a glob; what is wrong with it else.
    pub fn new(glob: &str) -> Result<Self, &'static str> {
        let tokens = Parser::new(glob).tokens()?;
        let literal = |token: &Token| match token {
            Token::Byte(byte) => Some(*byte),
            _ => None,
        };
        let mut suffix: Vec<u8> = tokens.iter().rev().map_while(literal).collect();
        suffix.reverse();
        let prefix = tokens.iter().map_while(literal).collect();
        let mut compiler = Compiler::default();
        match &*tokens {
            // Alone it matches everything.
            [Token::LeadingGlobstar] => compiler.ops.push(Op::Globstar),
            tokens => compiler.add(tokens),
        }
        compiler.ops.push(Op::Match);
        if compiler.classes.len() > usize::from(u16::MAX) {
            return Err("too many character classes");
        }
        Ok(Self { ops: compiler.ops.into(), classes: compiler.classes.into(), prefix, suffix: suffix.into() })
    }

    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.ops.len() * size_of::<Op>()
            + self.classes.len() * size_of::<Class>()
            + self.prefix.len()
            + self.suffix.len()
    }

    /// Whether it matches a path; `None` if that takes more than the steps that are left.
    pub fn matches(&self, path: &[u8], steps: &mut usize) -> Option<bool> {
        if !path.starts_with(&self.prefix) || !path.ends_with(&self.suffix) {
            return Some(false);
        }
        let mut now = States::new(self.ops.len());
        let mut next = States::new(self.ops.len());
        now.add(&self.ops, 0);
        for &byte in path {
            *steps = steps.checked_sub(now.list.len() + 1)?;
            next.clear();
            for &at in &now.list {
                let (goes_on, stays) = match self.ops.get(at as usize)? {
                    Op::Byte(wanted) => (byte == *wanted, false),
                    Op::Any => (byte != b'/', false),
                    Op::Class(class) => {
                        let class = self.classes.get(usize::from(*class))?;
                        (class[usize::from(byte >> 6)] & 1 << (byte & 63) != 0, false)
                    }
                    Op::Star => (false, byte != b'/'),
                    Op::Globstar => (false, true),
                    Op::Split(..) | Op::Jump(_) | Op::Match => (false, false),
                };
                if goes_on {
                    next.add(&self.ops, at + 1);
                }
                if stays {
                    next.add(&self.ops, at);
                }
            }
            if next.list.is_empty() {
                return Some(false);
            }
            std::mem::swap(&mut now, &mut next);
        }
        Some(now.list.iter().any(|at| self.ops.get(*at as usize) == Some(&Op::Match)))
    }
}

/// The operations that a match has come to.
struct States {
    list: Vec<u32>,
    has: Vec<u64>,
    todo: Vec<u32>,
}

impl States {
    fn new(count: usize) -> Self {
        Self { list: Vec::new(), has: vec![0; count.div_ceil(64)], todo: Vec::new() }
    }

    fn clear(&mut self) {
        self.list.clear();
        self.has.fill(0);
    }

    /// Adds an operation, and what can be reached from it without a byte.
    fn add(&mut self, ops: &[Op], at: u32) {
        self.todo.push(at);
        while let Some(at) = self.todo.pop() {
            let Some(word) = self.has.get_mut(at as usize / 64) else { continue };
            let bit = 1 << (at % 64);
            if *word & bit != 0 {
                continue;
            }
            *word |= bit;
            match ops.get(at as usize) {
                Some(Op::Split(one, other)) => self.todo.extend([*other, *one]),
                Some(Op::Jump(to)) => self.todo.push(*to),
                Some(Op::Star | Op::Globstar) => {
                    self.list.push(at);
                    self.todo.push(at + 1);
                }
                Some(_) => self.list.push(at),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, path: &str) -> bool {
        Glob::new(glob).unwrap().matches(path.as_bytes(), &mut usize::MAX.clone()).unwrap()
    }

    #[test]
    fn stars_stop_at_a_slash_unless_they_are_a_component() {
        for (glob, yes, no) in [
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
        ] {
            assert!(yes.iter().all(|path| matches(glob, path)), "{glob}");
            assert!(!no.iter().any(|path| matches(glob, path)), "{glob}");
        }
    }

    #[test]
    fn classes_and_alternates_are_as_usual() {
        for (glob, yes, no) in [
            ("/[a-c]", &["/a", "/c"][..], &["/d", "/-"][..]),
            ("/[!a-c]", &["/d"], &["/a", "//"]),
            ("/[]a]", &["/]", "/a"], &["/b"]),
            ("/[a-]", &["/a", "/-"], &["/b"]),
            ("/{a,bc,}x", &["/ax", "/bcx", "/x"], &["/bx"]),
            ("/{a,{b,c}*}/z", &["/a/z", "/bq/z", "/c/z"], &["/d/z"]),
            ("/{**/a,b}", &["/x/a", "/b"], &["/x/b"]),
            ("/dev\\x2d*.slice", &["/dev\\x2ddisk.slice"], &["/dev-disk.slice"]),
        ] {
            assert!(yes.iter().all(|path| matches(glob, path)), "{glob}");
            assert!(!no.iter().any(|path| matches(glob, path)), "{glob}");
        }
        for wrong in ["/[", "/[a", "/{a", "/a}", "/[z-a]", "/[é]", "/{{{{{{{{{a}}}}}}}}}"] {
            assert!(Glob::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_costly_match_ends_with_its_steps() {
        let glob = Glob::new(&"/**/*a*".repeat(200)).unwrap();
        let mut steps = 100_000;
        assert_eq!(glob.matches("/a".repeat(2_000).as_bytes(), &mut steps), None);
        assert!(glob.size() < 64 << 10);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(glob in "[/a*?{},!\\[\\]-]{0,24}", path in "[/ab]{0,12}") {
            if let Ok(glob) = Glob::new(&glob) {
                let _ = glob.matches(path.as_bytes(), &mut 10_000);
            }
        }
    }
}
