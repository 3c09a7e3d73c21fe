//! Takes over the pins of a previous daemon.

use std::collections::BTreeSet;

use aya::maps::{Map, MapData, MapType};
use cgtrace_common::{BACKUP_PROGRAMS, LOST_OF_ENTRIES, Loss, PERSISTED_WORDS, Persisted};

use super::{
    error::PinError,
    folder::Folder,
    hooks::{PinnedHooks, open_hooks},
    layout::{LAYOUT, MARK, fingerprint},
};
use crate::daemon::probe::{
    control::PersistedControl,
    counters::Program,
    error::ProbeStartError,
    load::{Maps, take_array, take_typed},
    tracked::{self, TrackedComms},
};

/// The objects that were taken over.
pub(in super::super) struct TakenOver {
    pub maps: Maps,
    pub programs: Vec<Program>,
}

/// What this daemon would have pinned.
pub(in super::super) struct Expected<'a> {
    pub lifecycle_ring: u32,
    pub activity_ring: u32,
    pub tracked: &'a [[u8; 16]],
    pub build: u64,
}

/// Opens all pins, and refuses those that differ from what this daemon would have pinned.
pub(in super::super) fn take_over(
    folder: &Folder,
    expected: &Expected<'_>,
) -> Result<TakenOver, ProbeStartError> {
    let mismatch = |difference: String| PinError::Mismatch { folder: folder.path().to_owned(), difference };
    // The map that identifies the others comes first.
    let persisted = open(folder, MARK, None, MapType::Array, 4, 8, PERSISTED_WORDS)?;
    let persisted = array(persisted, MARK)?;
    let control = PersistedControl::new(&persisted)?;
    let layout = control.get(Persisted::Layout);
    if layout != LAYOUT {
        let (theirs, ours) = (layout & 0xff, LAYOUT & 0xff);
        return Err(mismatch(if layout >> 8 == LAYOUT >> 8 {
            format!("their records have version {theirs}, expected {ours}")
        } else {
            "cgtrace's magic number is missing".to_owned()
        })
        .into());
    }
    if control.get(Persisted::Build) != expected.build {
        tracing::info!(
            folder = %folder.path().display(),
            "the pinned kernel program is from another build of cgtrace; it stays in use until `cgtrace unpin`"
        );
    }
    let PinnedHooks { programs, maps } = open_hooks(folder)?;
    if fingerprint(&programs) != control.get(Persisted::Programs) {
        return Err(mismatch("the programs are not those that were pinned".to_owned()).into());
    }
    let used = Some(&maps);
    let word = |name| open(folder, name, used, MapType::Array, 4, 4, 1);
    // Without tracked comms there is no program that uses the map.
    let used_by_exec = used.filter(|_| !expected.tracked.is_empty());
    let tracked = open(
        folder,
        "TRACKED_COMMS",
        used_by_exec,
        MapType::Hash,
        16,
        1,
        tracked::entries(expected.tracked),
    )?;
    let tracked: TrackedComms = take_typed(tracked)?;
    let pinned = tracked.keys().collect::<Result<Vec<_>, _>>();
    let mut pinned = pinned.map_err(|error| ProbeStartError::Object(Box::new(error.into())))?;
    let mut requested = expected.tracked.to_vec();
    for names in [&mut pinned, &mut requested] {
        names.sort_unstable();
        names.dedup();
    }
    if pinned != requested {
        return Err(mismatch(format!(
            "they track {}, this daemon tracks {}",
            names(&pinned),
            names(&requested)
        ))
        .into());
    }
    let losses = u32::try_from(Loss::ALL.len()).unwrap_or(u32::MAX);
    let maps = Maps {
        lifecycle: (
            take_typed(open(
                folder,
                "LIFECYCLE_RING",
                used,
                MapType::RingBuf,
                0,
                0,
                expected.lifecycle_ring,
            )?)?,
            expected.lifecycle_ring,
        ),
        activity: (
            take_typed(open(folder, "ACTIVITY_RING", used, MapType::RingBuf, 0, 0, expected.activity_ring)?)?,
            expected.activity_ring,
        ),
        wake: array(word("WAKE")?, "WAKE")?,
        lost: array(word("LOST")?, "LOST")?,
        losses: take_typed(open(folder, "LOSSES", used, MapType::PerCpuArray, 4, 8, losses)?)?,
        lost_of: take_typed(open(folder, "LOST_OF", used, MapType::PerCpuHash, 8, 8, LOST_OF_ENTRIES)?)?,
        recovered: take_typed(open(
            folder,
            "RECOVERED",
            used_by_exec,
            MapType::PerCpuArray,
            4,
            8,
            BACKUP_PROGRAMS,
        )?)?,
        tracked,
        persisted,
    };
    Ok(TakenOver { maps, programs })
}

/// Opens a pinned map, and checks its name and shape, and that its id is in `used` (by the pinned programs).
fn open(
    folder: &Folder,
    name: &'static str,
    used: Option<&BTreeSet<u32>>,
    kind: MapType,
    key: u32,
    value: u32,
    entries: u32,
) -> Result<Map, ProbeStartError> {
    let mismatch = |difference: String| PinError::Mismatch { folder: folder.path().to_owned(), difference };
    let data = MapData::from_pin(folder.entry(name))
        .map_err(|error| mismatch(format!("`{name}` cannot be opened ({error})")))?;
    let info = data.info().map_err(|error| mismatch(format!("`{name}` cannot be read ({error})")))?;
    if info.name() != name.as_bytes() || used.is_some_and(|used| !used.contains(&info.id())) {
        return Err(mismatch(format!("`{name}` is not the map that the pinned programs use")).into());
    }
    let found = info.map_type().ok();
    if found != Some(kind) || info.key_size() != key || info.value_size() != value {
        let difference = format!(
            "`{name}` is a map of type {found:?} with {}-byte keys and {}-byte values, expected {kind:?} with {key} and \
             {value}",
            info.key_size(),
            info.value_size()
        );
        return Err(mismatch(difference).into());
    }
    // The capacity of the hash map may differ: its contents are compared.
    if kind != MapType::Hash && info.max_entries() != entries {
        let of = if kind == MapType::RingBuf { "bytes" } else { "entries" };
        return Err(mismatch(format!("`{name}` has {} {of}, expected {entries}", info.max_entries())).into());
    }
    Map::from_map_data(data).map_err(|error| ProbeStartError::Object(Box::new(error.into())))
}

fn array(map: Map, name: &'static str) -> Result<MapData, ProbeStartError> {
    take_array(Some(map), name)
}

/// Formats comms for a message.
fn names(comms: &[[u8; 16]]) -> String {
    if comms.is_empty() {
        return "no comms".to_owned();
    }
    let name =
        |comm: &[u8; 16]| String::from_utf8_lossy(comm).trim_end_matches('\0').escape_debug().to_string();
    comms.iter().map(name).collect::<Vec<_>>().join(", ")
}
