//! The comms whose execs are recorded. They can be changed while the program runs.

use std::borrow::BorrowMut;

use aya::maps::{HashMap, MapData, MapError};

/// Why the tracked comms could not be changed completely.
#[derive(Debug, thiserror::Error)]
#[error("failed to update the tracked comms: {0}")]
pub struct TrackError(#[from] MapError);

/// The map `TRACKED_COMMS`: the comms, NUL-padded.
pub(super) type TrackedComms<M = MapData> = HashMap<M, [u8; 16], u8>;

/// The minimum capacity of the map.
const ROOM: usize = 256;

/// The capacity of the map.
pub(super) fn entries(comms: &[[u8; 16]]) -> u32 {
    u32::try_from(comms.len().max(ROOM)).unwrap_or(u32::MAX)
}

/// Replaces the comms in the map. Comms that remain are tracked without interruption.
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
