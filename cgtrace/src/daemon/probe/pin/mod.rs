//! Pins: links, programs and maps in a BPF file system, so that the kernel program continues to record while
//! no daemon runs, and the next daemon reads the records that the previous one did not.
//!
//! Each object has an entry in one directory that only cgtrace uses. The entry of the map `PERSISTED` is
//! created last and removed first: a directory without it comes from an interrupted start, and is cleared.
//! The process that uses the directory holds a lock on it, which the kernel releases when the process ends.

mod error;
mod folder;
mod hooks;
mod layout;
mod take_over;

pub use error::PinError;
pub use folder::{FOLDER, Folder};
pub(super) use layout::{LAYOUT, LINK, MAPS, MARK, PROGRAM, build_of, fingerprint};
pub(super) use take_over::{Expected, TakenOver, take_over};
