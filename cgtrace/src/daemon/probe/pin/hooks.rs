//! The pinned programs and links. Each link must attach the program that is pinned with it to the hook's
//! tracepoint.

use std::{
    collections::BTreeSet,
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya::programs::ProgramInfo;

use super::{
    error::PinError,
    folder::Folder,
    layout::{LINK, PROGRAM},
};
use crate::daemon::probe::{
    counters::{LoadedProgram, Program, field},
    error::ProbeStartError,
    hooks::{HOOKS, Hook},
};

/// The pinned hooks.
pub(super) struct PinnedHooks {
    pub programs: Vec<Program>,
    /// The ids of the maps that the programs use.
    pub maps: BTreeSet<u32>,
}

/// Opens the program of every hook and checks its link.
pub(super) fn open_hooks(folder: &Folder) -> Result<PinnedHooks, ProbeStartError> {
    let mut found = PinnedHooks { programs: Vec::new(), maps: BTreeSet::new() };
    for hook in &HOOKS {
        let (link, program) = (format!("{LINK}{}", hook.name), format!("{PROGRAM}{}", hook.name));
        let mismatch =
            |difference: String| PinError::Mismatch { folder: folder.path().to_owned(), difference };
        let state = match (folder.has(&program), folder.has(&link)) {
            (true, true) => {
                let loaded = program_of(&folder.entry(&program), &mut found.maps)
                    .and_then(|loaded| check_link(&folder.entry(&link), hook, loaded.id).map(|()| loaded))
                    .map_err(|error| {
                        mismatch(format!("the hook `{}` cannot be taken over: {error}", hook.name))
                    })?;
                Ok(loaded)
            }
            (false, false) if !hook.is_required() => {
                Err("it was not attached when the hooks were pinned".to_owned())
            }
            _ => return Err(mismatch(format!("the hook `{}` is missing", hook.name)).into()),
        };
        found.programs.push(Program { hook, state });
    }
    Ok(found)
}

/// Opens the program pinned at `path`, and adds the ids of the maps that it uses to `maps`.
fn program_of(path: &Path, maps: &mut BTreeSet<u32>) -> io::Result<LoadedProgram> {
    let info = ProgramInfo::from_pin(path).map_err(io::Error::other)?;
    let kind = info.program_type();
    // BPF_PROG_TYPE_RAW_TRACEPOINT and BPF_PROG_TYPE_TRACING.
    if !matches!(kind as u32, 17 | 26) {
        return Err(io::Error::other(format!("its program is a {kind:?}")));
    }
    let fd = object_at(path)?;
    maps.extend(map_ids(&fd)?);
    Ok(LoadedProgram { fd, jited_bytes: info.size_jitted(), id: info.id(), tag: info.tag() })
}

/// The ids of the maps that a program uses. aya would open the program by its id, which requires
/// `CAP_SYS_ADMIN`.
fn map_ids(program: &OwnedFd) -> io::Result<Vec<u32>> {
    /// The first members of `struct bpf_prog_info`; the kernel fills in as much as there is room for.
    #[repr(C)]
    #[derive(Default)]
    struct ProgInfo {
        kind: u32,
        id: u32,
        tag: [u8; 8],
        jited_length: u32,
        translated_length: u32,
        jited: u64,
        translated: u64,
        load_time: u64,
        created_by_uid: u32,
        map_count: u32,
        map_ids: u64,
    }
    /// The part of `union bpf_attr` that `BPF_OBJ_GET_INFO_BY_FD` reads.
    #[repr(C)]
    struct InfoAttributes {
        bpf_fd: u32,
        info_length: u32,
        info: u64,
    }
    /// The most maps that a program can use (`MAX_USED_MAPS`).
    const MAX_MAPS: u32 = 64;
    const INFO_LENGTH: u32 = 64;
    const _: () = assert!(size_of::<ProgInfo>() == INFO_LENGTH as usize);
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
    let mut ids = vec![0_u32; MAX_MAPS as usize];
    let mut info = ProgInfo { map_count: MAX_MAPS, map_ids: ids.as_mut_ptr() as u64, ..ProgInfo::default() };
    let attributes = InfoAttributes {
        bpf_fd: program.as_raw_fd().cast_unsigned(),
        info_length: INFO_LENGTH,
        info: (&raw mut info) as u64,
    };
    // SAFETY: the kernel writes at most `info_length` bytes and `map_count` ids; both buffers outlive the
    // call.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const attributes,
            size_of::<InfoAttributes>(),
        )
    };
    if outcome < 0 {
        return Err(io::Error::last_os_error());
    }
    ids.truncate(info.map_count as usize);
    Ok(ids)
}

/// Checks that the link pinned at `path` attaches that program to the tracepoint of the hook.
fn check_link(path: &Path, hook: &Hook, program: u32) -> io::Result<()> {
    let link = object_at(path)?;
    // `bpf_link_show_fdinfo` and `bpf_raw_tp_link_show_fdinfo` in kernel/bpf/syscall.c.
    let page = fs::read_to_string(format!("/proc/self/fdinfo/{}", link.as_raw_fd()))?;
    let (id, tracepoint) = (field(&page, "prog_id"), field(&page, "tp_name"));
    if id.and_then(|id| id.parse().ok()) != Some(program) {
        return Err(io::Error::other(format!(
            "its link holds program {}, expected {program}",
            id.unwrap_or("none")
        )));
    }
    if tracepoint != Some(hook.tracepoint) {
        let at = tracepoint.unwrap_or("no tracepoint");
        return Err(io::Error::other(format!("its link is attached to {at}, expected {}", hook.tracepoint)));
    }
    Ok(())
}

/// Opens the object pinned at `path`. For a typed program aya would open the kernel's BTF too, which requires
/// `CAP_SYS_ADMIN`.
fn object_at(path: &Path) -> io::Result<OwnedFd> {
    /// The part of `union bpf_attr` that `BPF_OBJ_GET` reads.
    #[repr(C)]
    struct GetAttributes {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    const BPF_OBJ_GET: libc::c_long = 7;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes = GetAttributes { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: the attributes have the layout and size that the kernel expects; the path outlives the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attributes, size_of::<GetAttributes>())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it, and nothing else owns it. Descriptors from bpf(2) are
    // close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
