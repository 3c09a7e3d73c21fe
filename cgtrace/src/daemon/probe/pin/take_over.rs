//! Taking over what another daemon pinned.

use std::{
    ffi::CString,
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use aya::{
    maps::{Map, MapData, MapType},
    programs::{ProgramInfo, links::PinnedLink},
};
use cgtrace_common::{HIERARCHIES_COUNTED, KEPT_WORDS, Kept, Loss};

use super::{
    super::{
        StartError,
        attach::{HOOKS, Link},
        counters::{Loaded, Program},
        load::{Maps, take_array, take_typed},
        watched::{self, Watched},
        words::KeptWords,
    },
    Folder, LAYOUT, LINK, MARK, PROGRAM, PinError,
};

/// What was taken over.
pub(in super::super) struct TakenOver {
    pub maps: Maps,
    pub links: Vec<Link>,
    pub programs: Vec<Program>,
}

/// How the daemon would have made it all.
pub(in super::super) struct Wanted<'a> {
    pub index_ring: u32,
    pub told_ring: u32,
    pub watched: &'a [[u8; 16]],
    pub build: u64,
}

/// Opens everything, and refuses what this daemon would not have made so.
pub(in super::super) fn take_over(folder: &Folder, wanted: &Wanted<'_>) -> Result<TakenOver, StartError> {
    let unfit = |what: String| PinError::Unfit { folder: folder.path().to_owned(), what };
    // First what the rest is judged by.
    let kept = open(folder, MARK, MapType::Array, 4, 8, KEPT_WORDS)?;
    let kept = array(kept, MARK)?;
    let words = KeptWords::new(&kept)?;
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
    let word = |name| open(folder, name, MapType::Array, 4, 4, 1);
    let watched = open(folder, "WATCHED", MapType::Hash, 16, 1, watched::entries(wanted.watched))?;
    let watched: Watched = take_typed(watched)?;
    let pinned = watched.keys().collect::<Result<Vec<_>, _>>();
    let mut pinned = pinned.map_err(|error| StartError::Object(Box::new(error.into())))?;
    let mut asked = wanted.watched.to_vec();
    for names in [&mut pinned, &mut asked] {
        names.sort_unstable();
        names.dedup();
    }
    if pinned != asked {
        return Err(unfit(format!("they watch {}, this daemon {}", names(&pinned), names(&asked))).into());
    }
    let losses = u32::try_from(Loss::ALL.len()).unwrap_or(u32::MAX);
    let maps = Maps {
        index: (
            take_typed(open(folder, "INDEX_RING", MapType::RingBuf, 0, 0, wanted.index_ring)?)?,
            wanted.index_ring,
        ),
        told: (
            take_typed(open(folder, "TOLD_RING", MapType::RingBuf, 0, 0, wanted.told_ring)?)?,
            wanted.told_ring,
        ),
        wake: array(word("WAKE")?, "WAKE")?,
        lost: array(word("LOST")?, "LOST")?,
        losses: take_typed(open(folder, "LOSSES", MapType::PerCpuArray, 4, 8, losses)?)?,
        lost_of: take_typed(open(folder, "LOST_OF", MapType::PerCpuHash, 4, 8, HIERARCHIES_COUNTED)?)?,
        watched,
        kept,
    };
    let (links, programs) = hooks(folder)?;
    Ok(TakenOver { maps, links, programs })
}

fn hooks(folder: &Folder) -> Result<(Vec<Link>, Vec<Program>), StartError> {
    let mut links = Vec::new();
    let mut programs = Vec::new();
    for hook in &HOOKS {
        let name = hook.name;
        let (link, program) = (format!("{LINK}{name}"), format!("{PROGRAM}{name}"));
        if !folder.has(&link) || !folder.has(&program) {
            if hook.is_vital() {
                let what = format!("the hook `{name}` is not among them");
                return Err(PinError::Unfit { folder: folder.path().to_owned(), what }.into());
            }
            programs
                .push(Program { hook, state: Err("it was left out when the hooks were pinned".to_owned()) });
            continue;
        }
        let path = folder.entry(&program);
        let unfit = |error: &dyn std::error::Error| PinError::Unfit {
            folder: folder.path().to_owned(),
            what: format!("`{program}` is no program that can be taken over ({error})"),
        };
        let info = ProgramInfo::from_pin(&path).map_err(|error| unfit(&error))?;
        let kind = info.program_type();
        // BPF_PROG_TYPE_RAW_TRACEPOINT and BPF_PROG_TYPE_TRACING.
        if !matches!(kind as u32, 17 | 26) {
            return Err(unfit(&io::Error::other(format!("it is a {kind:?}"))).into());
        }
        let jited_bytes = info.size_jitted();
        let fd = object_at(&path).map_err(|error| unfit(&error))?;
        let pinned = PinnedLink::from_pin(folder.entry(&link)).map_err(|error| unfit(&error))?;
        links.push(Link::Pinned { _pinned: pinned });
        programs.push(Program { hook, state: Ok(Loaded { fd, jited_bytes }) });
    }
    Ok((links, programs))
}

/// A descriptor of what is pinned there. aya would open the kernel's BTF with a typed program, for which the service would
/// need `CAP_SYS_ADMIN`.
fn object_at(path: &Path) -> io::Result<OwnedFd> {
    /// What `BPF_OBJ_GET` reads of `union bpf_attr`.
    #[repr(C)]
    struct Attributes {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    const BPF_OBJ_GET: libc::c_long = 7;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = Attributes { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the attributes have the layout that the kernel reads, with their size; the path lives until it returns.
    let fd =
        unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attributes, size_of::<Attributes>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for us, and nobody else has it. bpf(2)'s descriptors close on exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a pinned map, if it is what it should be.
fn open(
    folder: &Folder,
    name: &'static str,
    kind: MapType,
    key: u32,
    value: u32,
    entries: u32,
) -> Result<Map, StartError> {
    let unfit = |what: String| PinError::Unfit { folder: folder.path().to_owned(), what };
    let data =
        map_at(&folder.entry(name)).map_err(|error| unfit(format!("`{name}` cannot be opened ({error})")))?;
    let info = data.info().map_err(|error| unfit(format!("`{name}` cannot be read ({error})")))?;
    let told = info.map_type().ok();
    if told != Some(kind) || info.key_size() != key || info.value_size() != value {
        let what = format!(
            "`{name}` is a map of type {told:?} with {} bytes a key and {} a value, not {kind:?} with {key} and {value}",
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

fn map_at(path: &Path) -> Result<MapData, aya::maps::MapError> {
    MapData::from_pin(path)
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
