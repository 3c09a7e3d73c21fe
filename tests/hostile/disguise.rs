//! Disguises of the attacker against an admin who runs `why` about its process.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use anyhow::{Context as _, Result};
use rustix::{
    fs::inotify,
    mm::{MapFlags, ProtFlags, mmap_anonymous},
};
use serde_json::{Value, json};

/// Descriptors that must stay open while the attacker runs.
#[derive(Default)]
pub struct AttackerState {
    copies: Vec<OwnedFd>,
    /// The deepest cgroup of a nest.
    pub bottom: Option<OwnedFd>,
}

pub fn put_on(what: &str, order: &Value, state: &mut AttackerState) -> Result<Value> {
    let number = || order["count"].as_u64().context("the order has no count");
    match what {
        "command line" => command_line(usize::try_from(number()?)?)?,
        "mounts" => mounts(Path::new(order["on"].as_str().context("the order has no on")?), number()?)?,
        "watches" => {
            return watches(
                Path::new(order["below"].as_str().context("the order has no below")?),
                number()?,
                state,
            );
        }
        "fuse" => {
            let path = |key: &str| order[key].as_str().with_context(|| format!("the order has no {key}"));
            state.copies.push(fuse(Path::new(path("device")?), Path::new(path("on")?))?);
        }
        other => anyhow::bail!("unknown order {other}"),
    }
    Ok(json!({}))
}

/// Moves its command line to an area of this size.
fn command_line(bytes: usize) -> Result<()> {
    /// `struct prctl_mm_map` of the kernel.
    #[repr(C)]
    struct Map {
        code: [u64; 2],
        data: [u64; 2],
        brk: [u64; 2],
        start_stack: u64,
        arguments: [u64; 2],
        environment: [u64; 2],
        auxv: u64,
        auxv_size: u32,
        exe_fd: u32,
    }
    // SAFETY: a new anonymous mapping does not overlap another.
    let area = unsafe {
        mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
    }?;
    // SAFETY: the area is ours and that large.
    unsafe { std::ptr::write_bytes(area.cast::<u8>(), b'x', bytes - 1) };
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after_comm = stat.rsplit_once(") ").context("no comm")?.1;
    // The third field of proc(5) is the first one here.
    let field = |number: usize| -> Result<u64> {
        Ok(after_comm.split(' ').nth(number - 3).context("a short stat")?.parse()?)
    };
    // SAFETY: sbrk(0) only returns the end of the heap.
    let end_of_heap = unsafe { libc::sbrk(0) } as u64;
    let start = area as u64;
    let map = Map {
        code: [field(26)?, field(27)?],
        data: [field(45)?, field(46)?],
        brk: [field(47)?, end_of_heap],
        start_stack: field(28)?,
        arguments: [start, start + bytes as u64],
        environment: [field(50)?, field(51)?],
        auxv: 0,
        auxv_size: 0,
        exe_fd: u32::MAX,
    };
    // SAFETY: the structure is the kernel's, and every address in it is mapped.
    let outcome =
        unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const map, size_of::<Map>(), 0) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("PR_SET_MM_MAP") }
}

/// Mounts a folder over itself repeatedly.
fn mounts(on: &Path, count: u64) -> Result<()> {
    let folder = CString::new(on.as_os_str().as_encoded_bytes())?;
    for number in 0..count {
        // SAFETY: both paths are NUL-terminated; the other pointers may be null for a bind mount.
        let outcome = unsafe {
            libc::mount(folder.as_ptr(), folder.as_ptr(), std::ptr::null(), libc::MS_BIND, std::ptr::null())
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error()).with_context(|| format!("bind mount {number}"));
        }
    }
    Ok(())
}

/// Mounts a FUSE file system in its user namespace that never answers a request. It exists as long as its
/// device is open.
fn fuse(device: &Path, on: &Path) -> Result<OwnedFd> {
    let device = fs::OpenOptions::new().read(true).write(true).open(device).context("no FUSE device")?;
    let (kind, target) = (c"fuse", CString::new(on.as_os_str().as_encoded_bytes())?);
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let (flags, options) = (libc::MS_NOSUID | libc::MS_NODEV, CString::new(options)?);
    // SAFETY: all are NUL-terminated strings that outlive the call.
    let outcome =
        unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    if outcome == 0 { Ok(device.into()) } else { Err(io::Error::last_os_error()).context("mount of fuse") }
}

/// Opens as many inotify instances as a user may have, and duplicates the first one, which has 100 watches,
/// until no descriptor is left.
fn watches(folder: &Path, count: u64, state: &mut AttackerState) -> Result<Value> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let instance = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    for number in 0..100 {
        let below = folder.join(number.to_string());
        fs::create_dir(&below)?;
        inotify::add_watch(&instance, &below, inotify::WatchFlags::CREATE)?;
    }
    while let Ok(another) = inotify::init(inotify::CreateFlags::CLOEXEC) {
        state.copies.push(another);
    }
    let instances = state.copies.len() + 1;
    let mut held = instances as u64;
    while held < count
        && let Ok(copy) = instance.try_clone()
    {
        state.copies.push(copy);
        held += 1;
    }
    state.copies.push(instance);
    Ok(json!({"held": held, "instances": instances}))
}
