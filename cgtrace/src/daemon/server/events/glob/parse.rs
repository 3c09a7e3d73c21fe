//! The syntax of globs.

/// Bytes that a `[…]` matches.
pub type Class = [u64; 4];

/// A part of a glob.
#[derive(Clone, Debug)]
pub enum Token {
    Byte(u8),
    Any,
    Star,
    Class(Class),
    /// `**/` at the beginning.
    LeadingGlobstar,
    /// `/**/`.
    MiddleGlobstar,
    /// `/**` at the end.
    TrailingGlobstar,
    OneOf(Vec<Vec<Token>>),
}

pub struct Parser<'a> {
    left: &'a [u8],
    before: Option<u8>,
    depth: usize,
}

/// `{…}` within `{…}`.
const MAX_DEPTH: usize = 8;

impl<'a> Parser<'a> {
    pub const fn new(glob: &'a str) -> Self {
        Self { left: glob.as_bytes(), before: None, depth: 0 }
    }

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(first)
    }

    fn peek(&self) -> Option<u8> {
        self.left.first().copied()
    }

    /// The glob's parts, or those of a branch of a `{…}`; what is wrong with it else.
    pub fn tokens(&mut self) -> Result<Vec<Token>, &'static str> {
        let mut tokens = Vec::new();
        while let Some(byte) = self.peek() {
            if self.depth > 0 && matches!(byte, b',' | b'}') {
                break;
            }
            self.next();
            let before = self.before.replace(byte);
            match byte {
                b'?' => tokens.push(Token::Any),
                b'*' => self.star(&mut tokens, before),
                b'[' => tokens.push(Token::Class(self.class()?)),
                b'{' => tokens.push(self.alternates()?),
                b'}' => return Err("unopened alternate group; missing '{'"),
                other => tokens.push(Token::Byte(other)),
            }
        }
        Ok(tokens)
    }

    fn star(&mut self, tokens: &mut Vec<Token>, before: Option<u8>) {
        let ends = |next: Option<u8>, depth| match next {
            None | Some(b'/') => true,
            Some(next) => depth > 0 && matches!(next, b',' | b'}'),
        };
        if self.peek() != Some(b'*') {
            tokens.push(Token::Star);
            return;
        }
        self.next();
        let begins = match before {
            None | Some(b'/') => true,
            Some(before) => self.depth > 0 && matches!(before, b',' | b'{'),
        };
        // Elsewhere than as a whole component it is two stars, which match what one does.
        if !begins || !ends(self.peek(), self.depth) {
            tokens.push(Token::Star);
            return;
        }
        let last = self.peek() != Some(b'/');
        match tokens.last() {
            None => {
                tokens.push(Token::LeadingGlobstar);
                self.before = self.next_if_slash();
            }
            Some(Token::LeadingGlobstar) => self.before = self.next_if_slash(),
            Some(_) => {
                tokens.pop();
                tokens.push(if last { Token::TrailingGlobstar } else { Token::MiddleGlobstar });
                self.before = self.next_if_slash();
            }
        }
    }

    fn next_if_slash(&mut self) -> Option<u8> {
        if self.peek() == Some(b'/') { self.next() } else { Some(b'*') }
    }

    fn alternates(&mut self) -> Result<Token, &'static str> {
        if self.depth == MAX_DEPTH {
            return Err("alternate groups are nested too deeply");
        }
        self.depth += 1;
        let mut branches = Vec::new();
        loop {
            branches.push(self.tokens()?);
            match self.next() {
                Some(b',') => self.before = Some(b','),
                Some(_) => break,
                None => return Err("unclosed alternate group; missing '}'"),
            }
        }
        self.depth -= 1;
        self.before = Some(b'}');
        Ok(Token::OneOf(branches))
    }

    fn class(&mut self) -> Result<Class, &'static str> {
        const UNCLOSED: &str = "unclosed character class; missing ']'";
        let mut class: Class = [0; 4];
        let negated = matches!(self.peek(), Some(b'!' | b'^'));
        if negated {
            self.next();
        }
        let mut first = true;
        loop {
            let start = self.next().ok_or(UNCLOSED)?;
            if start == b']' && !first {
                break;
            }
            first = false;
            let mut end = start;
            if let [b'-', last, ..] = *self.left
                && last != b']'
            {
                self.left = self.left.get(2..).unwrap_or_default();
                end = last;
            }
            if start > end {
                return Err("invalid range in a character class");
            }
            if !end.is_ascii() {
                return Err("a character class has ASCII characters only");
            }
            (start..=end).for_each(|byte| class[usize::from(byte >> 6)] |= 1 << (byte & 63));
        }
        if negated {
            class = class.map(|bits| !bits);
        }
        // It stands within a component.
        class[usize::from(b'/' >> 6)] &= !(1 << (b'/' & 63));
        self.before = Some(b']');
        Ok(class)
    }
}
