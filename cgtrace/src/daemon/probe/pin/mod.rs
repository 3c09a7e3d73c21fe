//! Pins: links, programs and maps kept in a BPF file system, so that the kernel program goes on recording while no
//! daemon runs, and the next one reads what the last one has not.
//!
//! Each object has its own entry in one folder, which belongs to cgtrace alone. The entry of the map `KEPT` is made
//! last and removed first: a folder without it is a beginning that was cut short, and is cleared. Whoever works in
//! the folder holds a lock on it, which the kernel takes away when he ends, however he does.

mod error;
mod folder;
mod take_over;

pub use error::PinError;
pub use folder::{FOLDER, Folder};
pub(super) use take_over::{TakenOver, Wanted, take_over};

use cgtrace_common::VERSION;

/// The map whose entry says that everything is there.
pub(super) const MARK: &str = "KEPT";

/// The other maps that a daemon uses; what only the program uses is kept by the program.
pub(super) const MAPS: [&str; 7] =
    ["INDEX_RING", "TOLD_RING", "LOSSES", "LOST", "LOST_OF", "WAKE", "WATCHED"];

/// Of the entry of a hook's link, before the hook's name.
pub(super) const LINK: &str = "link_";

/// Of the entry of a hook's program.
pub(super) const PROGRAM: &str = "program_";

/// The word [`Kept::Layout`](cgtrace_common::Kept): a mark, and the version of the records.
pub(super) const LAYOUT: u64 = (0x0063_6774_7261_6365 << 8) | VERSION as u64;

/// Which build of the kernel program an object is: FNV-1a over its bytes.
pub(super) fn build_of(object: &[u8]) -> u64 {
    object
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
