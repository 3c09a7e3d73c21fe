//! An empty program on the same tracepoint: the cost of the kernel's statistics and of an active tracepoint.

use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

/// `r0 = 0; exit`.
const PROGRAM: [u64; 2] = [0xb7, 0x95];

const PROG_LOAD: i32 = 5;
const RAW_TRACEPOINT_OPEN: i32 = 17;
const RAW_TRACEPOINT: u32 = 17;

/// The beginning of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u64; 3],
    flags: u32,
    name: [u8; 16],
    rest: [u32; 15],
}

/// For `BPF_RAW_TRACEPOINT_OPEN`.
#[repr(C)]
#[derive(Default)]
struct Open {
    name: u64,
    program: u32,
    reserved: u32,
}

/// Attached until dropped.
pub struct Empty {
    program: OwnedFd,
    _link: OwnedFd,
}

impl Empty {
    pub fn attach(tracepoint: &str) -> Result<Self> {
        let license = CString::new("GPL")?;
        let load = Load {
            kind: RAW_TRACEPOINT,
            count: 2,
            instructions: PROGRAM.as_ptr().expose_provenance() as u64,
            license: license.as_ptr().expose_provenance() as u64,
            ..Load::default()
        };
        let program = bpf(PROG_LOAD, &load).context("failed to load an empty program")?;
        let name = CString::new(tracepoint)?;
        let open = Open {
            name: name.as_ptr().expose_provenance() as u64,
            program: program.as_raw_fd().cast_unsigned(),
            reserved: 0,
        };
        let link =
            bpf(RAW_TRACEPOINT_OPEN, &open).with_context(|| format!("failed to attach to {tracepoint}"))?;
        Ok(Self { program, _link: link })
    }

    /// Ns per run by the kernel's statistics, while these are on.
    pub fn ns_a_run(&self) -> Result<f64> {
        let page = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.program.as_raw_fd()))?;
        let field = |name: &str| -> Result<f64> {
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            Ok(line.with_context(|| format!("no {name}"))?.trim().parse()?)
        };
        Ok(field("run_time_ns")? / field("run_cnt")?.max(1.0))
    }
}

fn bpf<T>(command: i32, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes have the given size, and what they point to outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) })
}
