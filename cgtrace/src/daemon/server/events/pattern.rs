//! Patterns: globs over whole paths. A path without wildcards matches that cgroup and everything below it.

use cgtrace_client::paths::{self, InvalidPath};
use cgtrace_paths::is_within;

use super::glob::{Glob, MAX_STEPS};

/// An invalid pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// An invalid path.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// An invalid glob.
    #[error("invalid pattern `{pattern}`: {reason}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Matching a path against the patterns would take too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooCostly;

/// A set of patterns; a path matches if any of them matches.
#[derive(Clone, Debug)]
pub struct Patterns {
    plain: Vec<Vec<u8>>,
    globs: Vec<Glob>,
    all: bool,
}

impl Patterns {
    /// Patterns that match every path, including an unknown one.
    #[must_use]
    pub fn all() -> Self {
        Self { plain: Vec::new(), globs: Vec::new(), all: true }
    }

    /// An empty set, which matches nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { plain: Vec::new(), globs: Vec::new(), all: false }
    }

    /// Adds a pattern in its wire encoding.
    pub fn add(&mut self, pattern: &str) -> Result<(), PatternError> {
        if !pattern.contains(['*', '?', '[', '{']) {
            self.plain.push(paths::from_wire(pattern)?);
            return Ok(());
        }
        let invalid = |reason| PatternError::Glob { pattern: paths::escape(pattern.as_bytes()), reason };
        if !pattern.starts_with(['/', '*']) {
            return Err(invalid(format!("it does not begin with `/`; expected /{pattern}")));
        }
        self.globs.push(Glob::new(pattern).map_err(invalid)?);
        Ok(())
    }

    /// The size in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let plain = self.plain.iter().map(|path| size_of::<Vec<u8>>() + path.len());
        plain.sum::<usize>() + self.globs.iter().map(Glob::size).sum::<usize>()
    }

    /// Whether a path matches; `None` stands for an unknown path.
    pub fn matches(&self, path: Option<&[u8]>) -> Result<bool, TooCostly> {
        if self.all {
            return Ok(true);
        }
        let Some(path) = path else { return Ok(false) };
        if self.plain.iter().any(|plain| is_within(path, plain)) {
            return Ok(true);
        }
        let mut steps = MAX_STEPS;
        for glob in &self.globs {
            if glob.matches(path, &mut steps).ok_or(TooCostly)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`matches`](Self::matches), for many paths: `steps` is for all of them. Without any left, every path
    /// may match.
    pub fn may_match(&self, path: Option<&[u8]>, steps: &mut usize) -> bool {
        if self.all {
            return true;
        }
        let Some(path) = path else { return false };
        *steps = steps.saturating_sub(self.plain.len());
        *steps == 0
            || self.plain.iter().any(|plain| is_within(path, plain))
            || self.globs.iter().any(|glob| glob.matches(path, steps).unwrap_or(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(pattern: &str) -> Result<Patterns, PatternError> {
        let mut patterns = Patterns::none();
        patterns.add(pattern)?;
        Ok(patterns)
    }

    #[test]
    fn a_plain_path_matches_everything_below_it() {
        let matches =
            |pattern, path: &str| patterns(pattern).unwrap().matches(Some(path.as_bytes())).unwrap();
        assert!(matches("/a", "/a") && matches("/a", "/a/b/c") && matches("/", "/anything"));
        assert!(!matches("/a", "/ab") && matches("/a*", "/ab"));
    }

    #[test]
    fn every_path_may_match_when_no_step_is_left() {
        let mut found = patterns("/a*").unwrap();
        found.add("/b").unwrap();
        let mut steps = 10_000;
        let mut may_match = |path: &[u8]| found.may_match(Some(path), &mut steps);
        assert!(may_match(b"/ab") && may_match(b"/b/c") && !may_match(b"/c"));
        // At last there is none left.
        assert!((0..10_000).any(|_| may_match(b"/c")));
    }

    #[test]
    fn an_invalid_pattern_is_an_error_with_the_reason() {
        assert!(patterns("/a[").is_err());
        assert!(patterns("a*").unwrap_err().to_string().contains("/a*"));
        assert!(patterns("a").is_err());
    }
}
