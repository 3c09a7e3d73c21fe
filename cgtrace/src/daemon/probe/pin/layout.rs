//! Names of the pins, and values that identify them.

use cgtrace_common::VERSION;

use crate::daemon::probe::counters::Program;

/// The map whose pin marks the pins as complete.
pub(in super::super) const MARK: &str = "PERSISTED";

/// The other maps that the daemon uses. Maps that only the program uses live as long as the program.
pub(in super::super) const MAPS: [&str; 8] =
    ["LIFECYCLE_RING", "ACTIVITY_RING", "LOSSES", "LOST", "LOST_OF", "RECOVERED", "WAKE", "TRACKED_COMMS"];

/// The prefix of the pin of a hook's link.
pub(in super::super) const LINK: &str = "link_";

/// The prefix of the pin of a hook's program.
pub(in super::super) const PROGRAM: &str = "program_";

/// The value of [`Persisted::Layout`](cgtrace_common::Persisted): a magic number, and the version of the
/// records.
pub(in super::super) const LAYOUT: u64 = (0x0063_6774_7261_6365 << 8) | VERSION as u64;

/// Identifies the build of the kernel program: a hash of the object.
pub(in super::super) fn build_of(object: &[u8]) -> u64 {
    fnv(object.iter().copied())
}

/// Identifies the attached programs: a hash of their names, ids and tags.
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
