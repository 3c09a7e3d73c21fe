//! Pins: links, programs and maps kept in a BPF file system, so that the kernel program goes on recording while no
//! daemon runs, and the next one reads what the last one has not.
//!
//! Each object has its own entry in one folder, which belongs to cgtrace alone. The entry of the map `PERSISTED` is made
//! last and removed first: a folder without it is a beginning that was cut short, and is cleared. Whoever works in
//! the folder holds a lock on it, which the kernel takes away when he ends, however he does.

mod error;
mod folder;
mod hooks;
mod layout;
mod take_over;

pub use error::PinError;
pub use folder::{FOLDER, Folder};
pub(super) use layout::{LAYOUT, LINK, MAPS, MARK, PROGRAM, build_of, fingerprint};
pub(super) use take_over::{TakenOver, Wanted, take_over};
