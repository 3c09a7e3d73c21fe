//! Taking over what another daemon pinned.

use std::collections::BTreeSet;

use aya::maps::{Map, MapData, MapType};
use cgtrace_common::{KEPT_WORDS, Kept, LOST_OF_ENTRIES, Loss, SPARES};

use super::{
    error::PinError,
    folder::Folder,
    hooks::{Pinned, pinned},
    layout::{LAYOUT, MARK, fingerprint},
};
use crate::daemon::probe::{
    control::PinnedControl,
    counters::Program,
    error::StartError,
    load::{Maps, take_array, take_typed},
    tracked::{self, TrackedComms},
};

/// What was taken over.
pub(in super::super) struct TakenOver {
    pub maps: Maps,
    pub programs: Vec<Program>,
}

/// How the daemon would have made it all.
pub(in super::super) struct Wanted<'a> {
    pub lifecycle_ring: u32,
    pub activity_ring: u32,
    pub tracked: &'a [[u8; 16]],
    pub build: u64,
}

/// Opens everything, and refuses what this daemon would not have made so.
pub(in super::super) fn take_over(folder: &Folder, wanted: &Wanted<'_>) -> Result<TakenOver, StartError> {
    let unfit = |what: String| PinError::Unfit { folder: folder.path().to_owned(), what };
    // First what the rest is judged by.
    let kept = open(folder, MARK, None, MapType::Array, 4, 8, KEPT_WORDS)?;
    let kept = array(kept, MARK)?;
    let words = PinnedControl::new(&kept)?;
    let layout = words.get(Kept::Layout);
    if layout != LAYOUT {
        let (theirs, ours) = (layout & 0xff, LAYOUT & 0xff);
        return Err(unfit(if layout >> 8 == LAYOUT >> 8 {
            format!("their records have version {theirs}, this daemon reads version {ours}")
        } else {
            "they have not the mark of cgtrace".to_owned()
        })
        .into());
    }
    if words.get(Kept::Build) != wanted.build {
        tracing::info!(
            folder = %folder.path().display(),
            "the pinned kernel program is of another build of cgtrace; it stays until `cgtrace unpin`"
        );
    }
    let Pinned { programs, maps } = pinned(folder)?;
    if fingerprint(&programs) != words.get(Kept::Programs) {
        return Err(unfit("their programs are not those that were pinned".to_owned()).into());
    }
    let used = Some(&maps);
    let word = |name| open(folder, name, used, MapType::Array, 4, 4, 1);
    // Without names there is no program that looks them up.
    let by_execs = used.filter(|_| !wanted.tracked.is_empty());
    let tracked =
        open(folder, "TRACKED_COMMS", by_execs, MapType::Hash, 16, 1, tracked::entries(wanted.tracked))?;
    let tracked: TrackedComms = take_typed(tracked)?;
    let pinned = tracked.keys().collect::<Result<Vec<_>, _>>();
    let mut pinned = pinned.map_err(|error| StartError::Object(Box::new(error.into())))?;
    let mut asked = wanted.tracked.to_vec();
    for names in [&mut pinned, &mut asked] {
        names.sort_unstable();
        names.dedup();
    }
    if pinned != asked {
        return Err(unfit(format!("they watch {}, this daemon {}", names(&pinned), names(&asked))).into());
    }
    let losses = u32::try_from(Loss::ALL.len()).unwrap_or(u32::MAX);
    let maps = Maps {
        lifecycle: (
            take_typed(open(folder, "LIFECYCLE_RING", used, MapType::RingBuf, 0, 0, wanted.lifecycle_ring)?)?,
            wanted.lifecycle_ring,
        ),
        activity: (
            take_typed(open(folder, "ACTIVITY_RING", used, MapType::RingBuf, 0, 0, wanted.activity_ring)?)?,
            wanted.activity_ring,
        ),
        wake: array(word("WAKE")?, "WAKE")?,
        lost: array(word("LOST")?, "LOST")?,
        losses: take_typed(open(folder, "LOSSES", used, MapType::PerCpuArray, 4, 8, losses)?)?,
        lost_of: take_typed(open(folder, "LOST_OF", used, MapType::PerCpuHash, 8, 8, LOST_OF_ENTRIES)?)?,
        spared: take_typed(open(folder, "SPARED", by_execs, MapType::PerCpuArray, 4, 8, SPARES)?)?,
        tracked,
        kept,
    };
    Ok(TakenOver { maps, programs })
}

/// Opens a pinned map, if it is what it should be: one of that name and shape, and `used` by the pinned programs.
fn open(
    folder: &Folder,
    name: &'static str,
    used: Option<&BTreeSet<u32>>,
    kind: MapType,
    key: u32,
    value: u32,
    entries: u32,
) -> Result<Map, StartError> {
    let unfit = |what: String| PinError::Unfit { folder: folder.path().to_owned(), what };
    let data = MapData::from_pin(folder.entry(name))
        .map_err(|error| unfit(format!("`{name}` cannot be opened ({error})")))?;
    let info = data.info().map_err(|error| unfit(format!("`{name}` cannot be read ({error})")))?;
    if info.name() != name.as_bytes() || used.is_some_and(|used| !used.contains(&info.id())) {
        return Err(unfit(format!("`{name}` is not the map that the pinned programs use")).into());
    }
    let found = info.map_type().ok();
    if found != Some(kind) || info.key_size() != key || info.value_size() != value {
        let what = format!(
            "`{name}` is a map of type {found:?} with {} bytes a key and {} a value, not {kind:?} with {key} and {value}",
            info.key_size(),
            info.value_size()
        );
        return Err(unfit(what).into());
    }
    // A set is judged by what is in it.
    if kind != MapType::Hash && info.max_entries() != entries {
        let of = if kind == MapType::RingBuf { "bytes" } else { "entries" };
        return Err(unfit(format!("`{name}` has {} {of}, not {entries}", info.max_entries())).into());
    }
    Map::from_map_data(data).map_err(|error| StartError::Object(Box::new(error.into())))
}

fn array(map: Map, name: &'static str) -> Result<MapData, StartError> {
    take_array(Some(map), name)
}

/// Names of processes, for a message.
fn names(comms: &[[u8; 16]]) -> String {
    if comms.is_empty() {
        return "no process name".to_owned();
    }
    let name =
        |comm: &[u8; 16]| String::from_utf8_lossy(comm).trim_end_matches('\0').escape_debug().to_string();
    comms.iter().map(name).collect::<Vec<_>>().join(", ")
}
