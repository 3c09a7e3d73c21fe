//! The filter that the user types.

use crate::daemon::server::Patterns;

/// Which paths are shown.
#[derive(Debug, Default)]
pub enum Filter {
    #[default]
    All,
    /// Those that contain this text.
    Text(Vec<u8>),
    /// Those that match a pattern of `list`.
    Pattern(Patterns),
}

impl Filter {
    /// Text with a wildcard is a pattern, at any depth unless it begins with `/`. Returns what is wrong with
    /// a pattern; while it is typed, that is normal.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::All);
        }
        if !text.contains(['*', '?', '[', '{']) {
            return Ok(Self::Text(text.as_bytes().to_vec()));
        }
        let pattern = if text.starts_with('/') || text.starts_with("**") {
            text.to_owned()
        } else {
            format!("/**/{text}")
        };
        let mut patterns = Patterns::none();
        patterns.add(&pattern).map_err(|error| error.to_string())?;
        Ok(Self::Pattern(patterns))
    }

    pub fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Text(text) => path.windows(text.len()).any(|part| part == text),
            // A match that would take too long is shown.
            Self::Pattern(patterns) => patterns.matches(Some(path)).unwrap_or(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, path: &str) -> bool {
        Filter::parse(filter).unwrap().matches(path.as_bytes())
    }

    #[test]
    fn text_is_searched_and_patterns_match_the_whole_path() {
        assert!(matches("", "/a") && matches("kube", "/system.slice/kubelet.service"));
        assert!(matches("/system.sl", "/system.slice") && !matches("kube", "/init.scope"));
        assert!(matches("*.service", "/a.service") && !matches("/*.service", "/system.slice/a.service"));
        assert!(matches("web*.service", "/system.slice/web1.service") && matches("**/x", "/a/x"));
        assert!(Filter::parse("/a[").unwrap_err().contains("/a["));
    }
}
