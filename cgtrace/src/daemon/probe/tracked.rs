//! The comms whose execs are told of. They can change while the program runs.

use std::borrow::BorrowMut;

use aya::maps::{HashMap, MapData, MapError};

/// Why other comms are not tracked, or not all of them.
#[derive(Debug, thiserror::Error)]
#[error("the kernel did not take the names: {0}")]
pub struct TrackError(#[from] MapError);

/// The map `TRACKED_COMMS`: the comms, NUL-padded.
pub(super) type TrackedComms<M = MapData> = HashMap<M, [u8; 16], u8>;

/// How many comms there is room for, unless there are more of them at the start.
const ROOM: usize = 256;

/// How many entries the map has.
pub(super) fn entries(comms: &[[u8; 16]]) -> u32 {
    u32::try_from(comms.len().max(ROOM)).unwrap_or(u32::MAX)
}

/// Makes these the comms of the map. One that stays is tracked throughout.
pub(super) fn set<M: BorrowMut<MapData>>(
    tracked: &mut TrackedComms<M>,
    comms: &[[u8; 16]],
) -> Result<(), MapError> {
    let before = tracked.keys().collect::<Result<Vec<_>, _>>()?;
    for comm in before.iter().filter(|comm| !comms.contains(comm)) {
        tracked.remove(comm)?;
    }
    for comm in comms.iter().filter(|comm| !before.contains(comm)) {
        tracked.insert(comm, 1, 0)?;
    }
    Ok(())
}
