//! Why pins cannot be used.

use std::{error::Error, io, path::PathBuf};

use thiserror::Error;

/// Why pins cannot be made, used or removed.
#[derive(Debug, Error)]
pub enum PinError {
    /// The folder does not lie in a BPF file system.
    #[error(
        "`{}` is not in a BPF file system; mount one (mount -t bpf bpf /sys/fs/bpf), name a folder in one, or start \
         without --pin",
        folder.display()
    )]
    NotBpffs {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder cannot be made or opened.
    #[error("failed to open the folder of pins `{}`; its parent must exist, and be in a BPF file system", folder.display())]
    Open {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can change what is in it.
    #[error(
        "the folder of pins `{}` {why}, who could have put other programs and maps there; it must belong to root or to \
         the user that the daemon runs as, and be writable by nobody else: remove it (cgtrace unpin {}), or name \
         another folder",
        folder.display(), folder.display()
    )]
    Untrusted {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another process holds it.
    #[error(
        "the pins in `{}` are in use by another daemon; stop that one, or name another folder",
        folder.display()
    )]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// The folder has in it what cgtrace did not put there.
    #[error(
        "`{}` holds `{entry}`, which is not cgtrace's; name a folder for cgtrace alone, or remove it",
        folder.display()
    )]
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// What was found there.
        entry: String,
    },
    /// What is pinned does not fit.
    #[error(
        "the pins in `{}` do not fit this daemon: {what}; start it as the one that made them, or remove them first \
         (cgtrace unpin {})",
        folder.display(), folder.display()
    )]
    Unfit {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        what: String,
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
