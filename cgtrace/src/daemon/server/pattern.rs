//! Patterns: globs over whole names; a plain name means that cgroup and all below it.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use cgtrace_client::names::{self, ImpossibleName};
use cgtrace_paths::is_within;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A plain name that no cgroup can have.
    #[error(transparent)]
    Name(#[from] ImpossibleName),
    /// A glob that cannot be read.
    #[error("`{pattern}` is no pattern: {reason}")]
    Glob {
        /// What was given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Several patterns; a name matches if it matches one of them.
#[derive(Clone, Debug)]
pub struct Patterns {
    plain: Vec<Vec<u8>>,
    globs: GlobSet,
    all: bool,
}

impl Patterns {
    /// What matches every name, also one that is not known.
    #[must_use]
    pub fn all() -> Self {
        Self { plain: Vec::new(), globs: GlobSet::empty(), all: true }
    }

    /// Reads patterns as the wire carries them; all names, if there is none.
    pub fn new(patterns: &[String]) -> Result<Self, PatternError> {
        if patterns.is_empty() {
            return Ok(Self::all());
        }
        let mut plain = Vec::new();
        let mut globs = GlobSetBuilder::new();
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
            let glob = GlobBuilder::new(pattern)
                .literal_separator(true)
                // systemd's names are full of backslashes: `dev-disk\x2d1.slice`.
                .backslash_escape(false)
                .build()
                .map_err(|error| wrong(error.kind().to_string()))?;
            globs.add(glob);
        }
        let globs = globs.build().map_err(|error| PatternError::Glob {
            pattern: patterns.join(" "),
            reason: error.kind().to_string(),
        })?;
        Ok(Self { plain, globs, all: false })
    }

    /// Whether a name matches; `None` is a name that is not known.
    #[must_use]
    pub fn matches(&self, path: Option<&[u8]>) -> bool {
        if self.all {
            return true;
        }
        let Some(path) = path else { return false };
        self.plain.iter().any(|name| is_within(path, name)) || self.globs.is_match(OsStr::from_bytes(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Patterns::new(&[pattern.to_owned()]).unwrap().matches(Some(path.as_bytes()))
    }

    #[test]
    fn a_plain_name_means_all_below_it() {
        assert!(matches("/a", "/a"));
        assert!(matches("/a", "/a/b/c"));
        assert!(!matches("/a", "/ab"));
        assert!(matches("/", "/anything"));
    }

    #[test]
    fn stars_stop_at_a_slash_unless_doubled() {
        assert!(matches("/a/*.service", "/a/x.service"));
        assert!(!matches("/a/*.service", "/a/b/x.service"));
        assert!(matches("/a/**/x.service", "/a/b/c/x.service"));
        assert!(matches("**/x.service", "/b/c/x.service"));
    }

    #[test]
    fn a_backslash_is_itself() {
        assert!(matches("/dev\\x2d*.slice", "/dev\\x2ddisk.slice"));
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        assert!(Patterns::new(&["/a[".to_owned()]).is_err());
        assert!(Patterns::new(&["a*".to_owned()]).unwrap_err().to_string().contains("/a*"));
        assert!(Patterns::new(&["a".to_owned()]).is_err());
    }
}
