//! Loads the kernel program that is built into this binary.

use std::fs;

use aya::{
    Ebpf, EbpfLoader,
    maps::{Map, MapData, PerCpuArray, PerCpuHashMap, RingBuf},
};
use aya_log::EbpfLogger;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::{
    btf::Btf,
    controllers::Controllers,
    error::ProbeStartError,
    offsets,
    options::Options,
    pin::{Folder, MAPS},
    tracked::{self, TrackedComms},
};

/// The kernel program, an ELF file that the build script compiled.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/cgtrace"));

/// `AYA_LOG_LEVEL` for no logging.
const LOG_OFF: u8 = 0;

/// The loaded kernel program, not yet attached.
pub(super) struct LoadedObject {
    pub(super) ebpf: Ebpf,
    /// The kernel's BTF in aya's form.
    pub(super) btf: Option<aya::Btf>,
    pub(super) controllers: Controllers,
    pub(super) maps: Maps,
    pub(super) log: Option<Log>,
}

/// The maps that the daemon uses.
pub(super) struct Maps {
    /// The ring and its size in bytes.
    pub(super) lifecycle: (RingBuf<MapData>, u32),
    /// Likewise.
    pub(super) activity: (RingBuf<MapData>, u32),
    pub(super) wake: MapData,
    pub(super) lost: MapData,
    pub(super) losses: PerCpuArray<MapData, u64>,
    pub(super) lost_of: PerCpuHashMap<MapData, u64, u64>,
    pub(super) recovered: PerCpuArray<MapData, u64>,
    pub(super) tracked: TrackedComms,
    pub(super) persisted: MapData,
}

/// The kernel program's log.
pub(super) struct Log(EbpfLogger<Bridge>);

impl Log {
    /// Forwards new messages.
    pub(super) fn flush(&mut self) {
        self.0.flush();
    }
}

/// Forwards the program's log, which aya passes to the `log` crate, to `tracing`.
struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // The program logs anomalies only.
        tracing::warn!(target: "cgtrace::kernel", "{}", record.args());
    }

    fn flush(&self) {}
}

/// Creates the maps and prepares the program for [`attach`](super::attach).
///
/// If `pins` is set, the maps are pinned in it, except the one that marks the pins as complete.
pub(super) fn load(options: &Options, pins: Option<&Folder>) -> Result<LoadedObject, ProbeStartError> {
    raise_memlock();
    let (offsets, controllers) = read_btf(options)?;
    let lifecycle_size = ring_size(options.lifecycle_ring_bytes);
    let activity_size = ring_size(options.activity_ring_bytes);
    let lifecycle_wake = wake_bytes(lifecycle_size as usize) as u64;
    let activity_wake = wake_bytes(activity_size as usize) as u64;
    let log_level = if options.kernel_log { aya_log::Level::Warn as u8 } else { LOG_OFF };
    let mut loader = EbpfLoader::new();
    loader
        // No relocations are needed: the offsets are constants set below.
        .btf(None)
        .map_max_entries("LIFECYCLE_RING", lifecycle_size)
        .map_max_entries("ACTIVITY_RING", activity_size)
        .map_max_entries("TRACKED_COMMS", tracked::entries(&options.tracked))
        .override_global("LIFECYCLE_WAKE_BYTES", &lifecycle_wake, true)
        .override_global("ACTIVITY_WAKE_BYTES", &activity_wake, true)
        .override_global(aya_log::LEVEL, &log_level, true);
    if !options.kernel_log {
        loader.map_max_entries("AYA_LOGS", 1);
    }
    for (global, offset) in &offsets {
        loader.override_global(global, offset, true);
    }
    let mut ebpf = loader.load(OBJECT).map_err(ProbeStartError::of_load)?;
    let comms =
        ebpf.map_mut("TRACKED_COMMS").ok_or(ProbeStartError::MissingPart { name: "TRACKED_COMMS" })?;
    let of_map = |error: aya::maps::MapError| ProbeStartError::Object(Box::new(error.into()));
    let mut comms: TrackedComms<_> = comms.try_into().map_err(of_map)?;
    tracked::set(&mut comms, &options.tracked).map_err(of_map)?;
    if let Some(folder) = pins {
        for name in MAPS {
            let map = ebpf.map(name).ok_or(ProbeStartError::MissingPart { name })?;
            folder.pin(name, |path| map.pin(path))?;
        }
    }
    let maps = Maps {
        lifecycle: (take(&mut ebpf, "LIFECYCLE_RING")?, lifecycle_size),
        activity: (take(&mut ebpf, "ACTIVITY_RING")?, activity_size),
        wake: take_array(ebpf.take_map("WAKE"), "WAKE")?,
        lost: take_array(ebpf.take_map("LOST"), "LOST")?,
        losses: take(&mut ebpf, "LOSSES")?,
        lost_of: take(&mut ebpf, "LOST_OF")?,
        recovered: take(&mut ebpf, "RECOVERED")?,
        tracked: take(&mut ebpf, "TRACKED_COMMS")?,
        persisted: take_array(ebpf.take_map("PERSISTED"), "PERSISTED")?,
    };
    let log = if options.kernel_log {
        let logger = EbpfLogger::init_with_logger(&mut ebpf, Bridge);
        Some(Log(logger.map_err(|error| ProbeStartError::Log(Box::new(error)))?))
    } else {
        None
    };
    let btf = aya::Btf::parse_file(&options.btf, aya::Endianness::default());
    let btf = btf.inspect_err(|error| tracing::debug!(%error, "typed programs are not used")).ok();
    Ok(LoadedObject { ebpf, btf, controllers, maps, log })
}

pub(super) type Offsets = Vec<(&'static str, u64)>;

pub(super) fn read_btf(options: &Options) -> Result<(Offsets, Controllers), ProbeStartError> {
    let path = &options.btf;
    let bytes = fs::read(path).map_err(|source| ProbeStartError::NoBtf { path: path.clone(), source })?;
    let btf = Btf::parse(&bytes).map_err(|source| ProbeStartError::BadBtf { path: path.clone(), source })?;
    let offsets = offsets::find(&btf)
        .map_err(|source| ProbeStartError::MissingMember { path: path.clone(), source })?;
    Ok((offsets, Controllers::find(&btf)))
}

/// How many unread bytes of a ring wake the daemon if nobody listens: an eighth.
///
/// More would not fit into the queue of a history in memory (8 MiB) when both rings are drained at once: at
/// half of 8 MiB, a burst of 40,000 events was stored only in part.
pub(super) const fn wake_bytes(ring_bytes: usize) -> usize {
    ring_bytes / 8
}

/// Rounds up to a valid ring size: a power of two of at least a page.
pub(super) fn ring_size(bytes: u32) -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    // The kernel's limit is higher (`RINGBUF_MAX_DATA_SZ`), but does not allow 2^32.
    bytes.clamp(page, 1 << 31).next_power_of_two()
}

fn take<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, ProbeStartError>
where
    aya::maps::MapError: From<T::Error>,
{
    take_typed(ebpf.take_map(name).ok_or(ProbeStartError::MissingPart { name })?)
}

/// Converts a map to its typed form.
pub(super) fn take_typed<T: TryFrom<Map>>(map: Map) -> Result<T, ProbeStartError>
where
    aya::maps::MapError: From<T::Error>,
{
    T::try_from(map)
        .map_err(|error| ProbeStartError::Object(Box::new(aya::maps::MapError::from(error).into())))
}

/// An array of words, to be mapped into memory.
pub(super) fn take_array(map: Option<Map>, name: &'static str) -> Result<MapData, ProbeStartError> {
    match map {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(ProbeStartError::MissingPart { name }),
    }
}

/// Raises the limit on locked memory, which before Linux 5.11 includes maps. Failure is not fatal: the
/// current limit may suffice, and otherwise creating a map fails with its own message.
pub(super) fn raise_memlock() {
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "failed to raise the limit on locked memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_sizes_are_powers_of_two_of_whole_pages() {
        let page = u32::try_from(rustix::param::page_size()).expect("small");
        assert_eq!(ring_size(0), page);
        assert_eq!(ring_size(page + 1), 2 * page);
        assert_eq!(ring_size(3 << 20), 4 << 20);
        assert_eq!(ring_size(u32::MAX), 1 << 31);
    }
}
