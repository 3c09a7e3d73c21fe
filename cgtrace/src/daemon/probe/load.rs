//! Loading the kernel program that is built into this binary.

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
    error::StartError,
    offsets,
    options::Options,
    pin::{Folder, MAPS},
    tracked::{self, TrackedComms},
};

/// The kernel program, an ELF file, put there by the build script.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/cgtrace"));

/// `AYA_LOG_LEVEL` of a program that logs nothing.
const LOG_OFF: u8 = 0;

/// The kernel program as the kernel took it, not yet attached.
pub(super) struct Loaded {
    pub(super) ebpf: Ebpf,
    /// The kernel's types as aya wants them.
    pub(super) btf: Option<aya::Btf>,
    pub(super) controllers: Controllers,
    pub(super) maps: Maps,
    pub(super) log: Option<Log>,
}

/// The maps that are used from here.
pub(super) struct Maps {
    /// With its size in bytes.
    pub(super) lifecycle: (RingBuf<MapData>, u32),
    /// Likewise.
    pub(super) activity: (RingBuf<MapData>, u32),
    pub(super) wake: MapData,
    pub(super) lost: MapData,
    pub(super) losses: PerCpuArray<MapData, u64>,
    pub(super) lost_of: PerCpuHashMap<MapData, u64, u64>,
    pub(super) spared: PerCpuArray<MapData, u64>,
    pub(super) tracked: TrackedComms,
    pub(super) kept: MapData,
}

/// The program's own log.
pub(super) struct Log(EbpfLogger<Bridge>);

impl Log {
    /// Forwards what was logged since the last time.
    pub(super) fn flush(&mut self) {
        self.0.flush();
    }
}

/// Forwards the program's log, which aya brings by the `log` crate, to `tracing`.
struct Bridge;

impl log::Log for Bridge {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // The program logs nothing but anomalies.
        tracing::warn!(target: "cgtrace::kernel", "{}", record.args());
    }

    fn flush(&self) {}
}

/// Makes the maps and readies the program for [`attach`](super::attach).
///
/// With a folder for pins, the maps are pinned in it, all but the mark that says that everything is.
pub(super) fn load(options: &Options, pins: Option<&Folder>) -> Result<Loaded, StartError> {
    raise_memlock();
    let (offsets, controllers) = read_btf(options)?;
    let lifecycle_size = ring_size(options.lifecycle_ring_bytes);
    let activity_size = ring_size(options.activity_ring_bytes);
    let (lifecycle_half, activity_half) = (u64::from(lifecycle_size / 2), u64::from(activity_size / 2));
    let log_level = if options.kernel_log { aya_log::Level::Warn as u8 } else { LOG_OFF };
    let mut loader = EbpfLoader::new();
    loader
        // There are no relocations: the offsets are constants that this file sets.
        .btf(None)
        .map_max_entries("LIFECYCLE_RING", lifecycle_size)
        .map_max_entries("ACTIVITY_RING", activity_size)
        .map_max_entries("TRACKED_COMMS", tracked::entries(&options.tracked))
        .override_global("LIFECYCLE_RING_HALF", &lifecycle_half, true)
        .override_global("ACTIVITY_RING_HALF", &activity_half, true)
        .override_global(aya_log::LEVEL, &log_level, true);
    if !options.kernel_log {
        loader.map_max_entries("AYA_LOGS", 1);
    }
    for (global, offset) in &offsets {
        loader.override_global(global, offset, true);
    }
    let mut ebpf = loader.load(OBJECT).map_err(StartError::of_load)?;
    let comms = ebpf.map_mut("TRACKED_COMMS").ok_or(StartError::Lacks { name: "TRACKED_COMMS" })?;
    let of_map = |error: aya::maps::MapError| StartError::Object(Box::new(error.into()));
    let mut comms: TrackedComms<_> = comms.try_into().map_err(of_map)?;
    tracked::set(&mut comms, &options.tracked).map_err(of_map)?;
    if let Some(folder) = pins {
        for name in MAPS {
            let map = ebpf.map(name).ok_or(StartError::Lacks { name })?;
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
        spared: take(&mut ebpf, "SPARED")?,
        tracked: take(&mut ebpf, "TRACKED_COMMS")?,
        kept: take_array(ebpf.take_map("PERSISTED"), "PERSISTED")?,
    };
    let log = if options.kernel_log {
        let logger = EbpfLogger::init_with_logger(&mut ebpf, Bridge);
        Some(Log(logger.map_err(|error| StartError::Log(Box::new(error)))?))
    } else {
        None
    };
    let btf = aya::Btf::parse_file(&options.btf, aya::Endianness::default());
    let btf = btf.inspect_err(|error| tracing::debug!(%error, "no program reads by types")).ok();
    Ok(Loaded { ebpf, btf, controllers, maps, log })
}

pub(super) type Offsets = Vec<(&'static str, u64)>;

pub(super) fn read_btf(options: &Options) -> Result<(Offsets, Controllers), StartError> {
    let path = &options.btf;
    let bytes = fs::read(path).map_err(|source| StartError::NoBtf { path: path.clone(), source })?;
    let btf = Btf::parse(&bytes).map_err(|source| StartError::BadBtf { path: path.clone(), source })?;
    let offsets =
        offsets::find(&btf).map_err(|source| StartError::MissingMember { path: path.clone(), source })?;
    Ok((offsets, Controllers::find(&btf)))
}

/// The size that a ring may have: a power of two of whole pages.
pub(super) fn ring_size(bytes: u32) -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(4096);
    // The kernel's own limit is far above (`RINGBUF_MAX_DATA_SZ`), but not 2^32.
    bytes.clamp(page, 1 << 31).next_power_of_two()
}

fn take<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, StartError>
where
    aya::maps::MapError: From<T::Error>,
{
    take_typed(ebpf.take_map(name).ok_or(StartError::Lacks { name })?)
}

/// A map as what it is used as.
pub(super) fn take_typed<T: TryFrom<Map>>(map: Map) -> Result<T, StartError>
where
    aya::maps::MapError: From<T::Error>,
{
    T::try_from(map).map_err(|error| StartError::Object(Box::new(aya::maps::MapError::from(error).into())))
}

/// An array of words, to be mapped into memory.
pub(super) fn take_array(map: Option<Map>, name: &'static str) -> Result<MapData, StartError> {
    match map {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(StartError::Lacks { name }),
    }
}

/// Before Linux 5.11 maps are counted as locked memory. Where the limit cannot be raised it may still do, and
/// where it does not, making a map fails and says so.
pub(super) fn raise_memlock() {
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "the limit on locked memory was not raised");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_a_power_of_two_of_whole_pages() {
        let page = u32::try_from(rustix::param::page_size()).expect("small");
        assert_eq!(ring_size(0), page);
        assert_eq!(ring_size(page + 1), 2 * page);
        assert_eq!(ring_size(3 << 20), 4 << 20);
        assert_eq!(ring_size(u32::MAX), 1 << 31);
    }
}
