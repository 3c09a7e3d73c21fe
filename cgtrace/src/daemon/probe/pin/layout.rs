//! How the pins are named, and the words by which the next daemon knows them.

use cgtrace_common::VERSION;

use crate::daemon::probe::counters::Program;

/// The map whose entry says that everything is there.
pub(in super::super) const MARK: &str = "PERSISTED";

/// The other maps that a daemon uses; what only the program uses is kept by the program.
pub(in super::super) const MAPS: [&str; 8] =
    ["LIFECYCLE_RING", "ACTIVITY_RING", "LOSSES", "LOST", "LOST_OF", "SPARED", "WAKE", "TRACKED_COMMS"];

/// Of the entry of a hook's link, before the hook's name.
pub(in super::super) const LINK: &str = "link_";

/// Of the entry of a hook's program.
pub(in super::super) const PROGRAM: &str = "program_";

/// The word [`Kept::Layout`](cgtrace_common::Kept): a mark, and the version of the records.
pub(in super::super) const LAYOUT: u64 = (0x0063_6774_7261_6365 << 8) | VERSION as u64;

/// Which build of the kernel program an object is.
pub(in super::super) fn build_of(object: &[u8]) -> u64 {
    fnv(object.iter().copied())
}

/// Which programs these are: by the names, ids and tags of those that are attached.
pub(in super::super) fn fingerprint(programs: &[Program]) -> u64 {
    let attached =
        programs.iter().filter_map(|program| Some((program.hook.name, program.state.as_ref().ok()?)));
    fnv(attached.flat_map(|(name, loaded)| {
        name.bytes().chain(loaded.id.to_ne_bytes()).chain(loaded.tag.to_ne_bytes())
    }))
}

/// FNV-1a.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
