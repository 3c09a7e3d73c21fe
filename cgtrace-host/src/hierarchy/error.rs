//! What can go wrong with a hierarchy.

use std::{io, path::PathBuf};

use super::budget::Stopped;
use crate::descriptors::next_step;

/// Why the hierarchies could not be found out.
#[derive(Debug, thiserror::Error)]
pub enum HierarchyError {
    /// A file of /proc could not be read.
    #[error("failed to read `{path}`; {}", next_step(source, "is /proc mounted here?"))]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// This kernel has no cgroups, or none is mounted.
    #[error(
        "`{path}` names no cgroup hierarchy; mount one, for example: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    )]
    None {
        /// The file that should name them.
        path: PathBuf,
    },
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
    /// Something else is mounted over it.
    #[error("`{path}` is not a cgroup file system; something is mounted over it")]
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
    /// A part of it could not be read.
    #[error("{note}")]
    Unreadable {
        /// How much, and the first of it.
        note: String,
    },
    /// It was stopped before its end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
