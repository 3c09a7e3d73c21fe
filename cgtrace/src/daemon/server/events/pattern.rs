//! Patterns: globs over whole paths; a plain path means that cgroup and everything below it.

use cgtrace_client::names::{self, ImpossibleName};
use cgtrace_paths::is_within;

use super::glob::Glob;

/// A match that takes more steps, of some nanoseconds each, is given up.
const MAX_STEPS: usize = 1 << 18;

/// An invalid pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A plain path that no cgroup can have.
    #[error(transparent)]
    Name(#[from] ImpossibleName),
    /// A glob that cannot be read.
    #[error("invalid pattern `{pattern}`: {reason}")]
    Glob {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whether a path matches takes too long to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooCostly;

/// Several patterns; a path matches if it matches one of them.
#[derive(Clone, Debug)]
pub struct Patterns {
    plain: Vec<Vec<u8>>,
    globs: Vec<Glob>,
    all: bool,
}

impl Patterns {
    /// Matches every path, also an unknown one.
    #[must_use]
    pub fn all() -> Self {
        Self { plain: Vec::new(), globs: Vec::new(), all: true }
    }

    /// Reads patterns as the wire carries them; without any, all paths match.
    pub fn new(patterns: &[String]) -> Result<Self, PatternError> {
        if patterns.is_empty() {
            return Ok(Self::all());
        }
        let mut plain = Vec::new();
        let mut globs = Vec::new();
        for pattern in patterns {
            if !pattern.contains(['*', '?', '[', '{']) {
                plain.push(names::from_wire(pattern)?);
                continue;
            }
            let wrong =
                |reason: String| PatternError::Glob { pattern: names::printable(pattern.as_bytes()), reason };
            if !pattern.starts_with(['/', '*']) {
                return Err(wrong(format!("it does not begin with `/`; it would be: /{pattern}")));
            }
            globs.push(Glob::new(pattern).map_err(|reason| wrong(reason.to_owned()))?);
        }
        Ok(Self { plain, globs, all: false })
    }

    /// How many bytes they take.
    #[must_use]
    pub fn size(&self) -> usize {
        let plain = self.plain.iter().map(|path| size_of::<Vec<u8>>() + path.len());
        plain.sum::<usize>() + self.globs.iter().map(Glob::size).sum::<usize>()
    }

    /// Whether a path matches; `None` is an unknown path.
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_means_everything_below_it() {
        let matches = |pattern: &str, path: &str| {
            Patterns::new(&[pattern.to_owned()]).unwrap().matches(Some(path.as_bytes())).unwrap()
        };
        assert!(matches("/a", "/a") && matches("/a", "/a/b/c") && matches("/", "/anything"));
        assert!(!matches("/a", "/ab") && matches("/a*", "/ab"));
    }

    #[test]
    fn an_invalid_pattern_is_an_error_with_the_reason() {
        assert!(Patterns::new(&["/a[".to_owned()]).is_err());
        assert!(Patterns::new(&["a*".to_owned()]).unwrap_err().to_string().contains("/a*"));
        assert!(Patterns::new(&["a".to_owned()]).is_err());
    }
}
