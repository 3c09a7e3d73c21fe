//! Compares paths, and matches names of hierarchies.

/// Whether `path` is `ancestor` or below it. Both are absolute, and only the root ends in `/`.
#[must_use]
pub fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    ancestor == b"/" || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Whether `word` names the hierarchy that `/proc/PID/cgroup` calls `hierarchy` (`v2` for the default
/// hierarchy): its full name, some of its controllers in any order, or `unified` for `v2`.
#[must_use]
pub fn names_hierarchy(word: &str, hierarchy: &str) -> bool {
    if hierarchy == "v2" {
        return matches!(word, "v2" | "unified");
    }
    !word.is_empty() && word.split(',').all(|part| hierarchy.split(',').any(|controller| controller == part))
}
