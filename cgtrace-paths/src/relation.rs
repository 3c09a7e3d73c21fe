//! How paths relate to one another, and which hierarchy a word means.

/// Whether `path` is the cgroup `ancestor` or below it. Both are absolute, without a trailing `/` except for the root.
#[must_use]
pub fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    ancestor == b"/" || path.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// Whether `word` means the hierarchy that `/proc/PID/cgroup` calls `hierarchy` (`v2` for the default one): its whole
/// name, one or some of its controllers in any order, or `unified` for `v2`.
#[must_use]
pub fn names_hierarchy(word: &str, hierarchy: &str) -> bool {
    if hierarchy == "v2" {
        return matches!(word, "v2" | "unified");
    }
    !word.is_empty() && word.split(',').all(|part| hierarchy.split(',').any(|controller| controller == part))
}
