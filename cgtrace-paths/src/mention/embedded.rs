//! Ids inside longer words: in the names of log files, and in those that Docker had for Kubernetes.

use crate::{container, pod};

/// The length of a UID with dashes.
const UID_LENGTH: usize = 36;

/// A container's id of 64 hex digits in a word: `coredns-5d78c9869d-abcde_kube-system_coredns-ID.log`.
///
/// It proves nothing: any program can create a cgroup with such a name.
#[must_use]
pub fn container(text: &str) -> Option<&str> {
    text.split(|character: char| !character.is_ascii_alphanumeric()).find(|part| container::is_id(part))
}

/// A pod's UID in a word: `k8s_POD_coredns-5d78c9869d-abcde_kube-system_UID_0`.
pub(super) fn pod(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let last = bytes.len().checked_sub(UID_LENGTH)?;
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let is_bounded = |at: usize| {
        let starts =
            at == 0 || !is_hex(at - 1) || text.get(..at).is_some_and(|before| before.ends_with("pod"));
        starts && !is_hex(at + UID_LENGTH)
    };
    (0..=last)
        // The first and the second dash of a UID, before the costlier test.
        .filter(|at| matches!((bytes[at + 8], bytes[at + 13]), (b'-' | b'_', b'-' | b'_')))
        .filter(|at| is_bounded(*at))
        .find_map(|at| pod::uid(text.get(at..at + UID_LENGTH)?))
}
