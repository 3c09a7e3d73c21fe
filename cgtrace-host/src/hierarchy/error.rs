//! Errors of discovering and scanning hierarchies.

use std::{io, path::PathBuf};

use super::budget::Stopped;
use crate::descriptors::next_step;

/// Why the hierarchies could not be discovered.
#[derive(Debug, thiserror::Error)]
pub enum HierarchyError {
    /// A file of /proc could not be read.
    #[error("failed to read `{path}`; {}", next_step(source, "check that /proc is mounted"))]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The kernel has no cgroups, or no hierarchy is mounted.
    #[error(
        "`{path}` does not list any cgroup hierarchy; mount one, for example: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    )]
    None {
        /// The file that should list them.
        path: PathBuf,
    },
    /// There are hierarchies, and no mount shows one of them from its root.
    #[error(
        "no cgroup hierarchy is mounted completely in this mount namespace (in a container, the mounts show the \
         container's part); run on the host"
    )]
    NotMounted,
}

/// Why a hierarchy could not be scanned.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// Its root could not be opened.
    #[error(
        "failed to open the cgroup mount `{path}`: {source}; {}",
        next_step(source, "run as root, or give cgtrace CAP_DAC_READ_SEARCH")
    )]
    Open {
        /// The mount point.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another file system is mounted over it.
    #[error("`{path}` is not a cgroup file system; another file system is mounted over it")]
    Covered {
        /// The mount point.
        path: PathBuf,
    },
    /// A file of a cgroup could not be read.
    #[error("failed to read the cgroup `{path}`: {source}; {}", next_step(source, "run as root"))]
    Read {
        /// The cgroup's path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Some directories could not be read.
    #[error("{note}")]
    Unreadable {
        /// How many, and the first one.
        note: String,
    },
    /// The scan was stopped early.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
