//! Why a text leads to no cgroup.

use cgtrace_client::{paths, paths::InvalidPath};

use crate::rules::{plain, shell_word};

/// How many candidates an error lists.
const MAX_CANDIDATES: usize = 8;
/// The most bytes of a text that an error repeats.
const MAX_TEXT: usize = 120;

/// Why a text could not be resolved to one cgroup.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// The request to the daemon failed.
    #[error(transparent)]
    Client(#[from] cgtrace_client::Error),
    /// No cgroup can have this path.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// It mentions nothing that is a cgroup.
    #[error(
        "`{0}` names no cgroup; expected a path (/system.slice/kubelet.service), a unit or its name (kubelet), ctr/ID, \
         pod/UID, or a line of a log that mentions one"
    )]
    Nothing(String),
    /// No known cgroup is of this container.
    #[error(
        "no cgroup of container {0} exists, and none that was removed is recorded; list what exists: cgtrace list \
         '/**/*{0}*'"
    )]
    UnknownContainer(String),
    /// No known cgroup is of this pod.
    #[error(
        "no cgroup of pod {0} exists, and none that was removed is recorded; list what exists: cgtrace list \
         '/**/*pod*'"
    )]
    UnknownPod(String),
    /// The paths of cgroups contain the UIDs of pods only.
    #[error(
        "paths of cgroups contain a pod's UID, not its name `{name}`; specify pod/UID, with the UID from: kubectl get pod \
         {word} -o jsonpath='{{.metadata.uid}}'",
        name = plain(.0),
        word = shell_word(.0)
    )]
    PodName(String),
    /// Several cgroups fit equally well.
    #[error("{}", ambiguous(.given, .candidates))]
    Ambiguous {
        /// The text.
        given: Vec<u8>,
        /// The paths of the cgroups.
        candidates: Vec<Vec<u8>>,
    },
}

impl NameError {
    pub(super) fn nothing(text: &[u8]) -> Self {
        Self::Nothing(shortened(text))
    }

    /// This error, or the other if that says more.
    pub(super) fn or(self, other: Self) -> Self {
        if matches!(self, Self::Nothing(_)) { other } else { self }
    }
}

fn ambiguous(given: &[u8], candidates: &[Vec<u8>]) -> String {
    let mut text = format!("`{}` is ambiguous; specify one of these paths:", shortened(given));
    for path in candidates.iter().take(MAX_CANDIDATES) {
        text.push_str(&format!("\n  {}", paths::escape(path)));
    }
    if let Some(more) = candidates.len().checked_sub(MAX_CANDIDATES).filter(|more| *more > 0) {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}

fn shortened(text: &[u8]) -> String {
    match text.get(..MAX_TEXT).filter(|cut| cut.len() < text.len()) {
        Some(cut) => format!("{}…", paths::escape(cut)),
        None => paths::escape(text),
    }
}
