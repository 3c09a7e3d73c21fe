//! Errors of pinning.

use std::{error::Error, io, path::PathBuf};

use thiserror::Error;

/// Why pins cannot be created, used or removed.
#[derive(Debug, Error)]
pub enum PinError {
    /// The directory is not in a BPF file system.
    #[error(
        "`{}` is not in a BPF file system; mount one (mount -t bpf bpf /sys/fs/bpf), choose a directory in one, or \
         start without --pin",
        folder.display()
    )]
    NotBpffs {
        /// The directory.
        folder: PathBuf,
    },
    /// The directory cannot be created or opened.
    #[error("failed to open the pin directory `{}`; its parent must exist and be in a BPF file system", folder.display())]
    Open {
        /// The directory.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other users can change its contents.
    #[error(
        "the pin directory `{}` {why}, who could have pinned other programs and maps there; it must belong to root or \
         to the daemon's user, and not be writable by others: remove it (cgtrace unpin {}), or choose another directory",
        folder.display(), folder.display()
    )]
    Untrusted {
        /// The directory.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process holds the lock.
    #[error(
        "the pins in `{}` are in use by another daemon; stop it, or choose another directory",
        folder.display()
    )]
    Busy {
        /// The directory.
        folder: PathBuf,
    },
    /// The directory contains an entry that cgtrace did not create.
    #[error(
        "`{}` contains `{entry}`, which is not cgtrace's; use a directory for cgtrace alone, or remove the entry",
        folder.display()
    )]
    Foreign {
        /// The directory.
        folder: PathBuf,
        /// The entry.
        entry: String,
    },
    /// The pins do not match this daemon.
    #[error(
        "the pins in `{}` do not match this daemon: {difference}; start it with the settings of the previous daemon, or \
         remove the pins first (cgtrace unpin {})",
        folder.display(), folder.display()
    )]
    Mismatch {
        /// The directory.
        folder: PathBuf,
        /// What differs.
        difference: String,
    },
    /// The kernel refused to pin something.
    #[error("failed to pin `{}`", path.display())]
    Pin {
        /// The entry.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A pin cannot be removed.
    #[error("failed to remove the pin `{}`", path.display())]
    Remove {
        /// The entry.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
