//! Why the probe cannot start.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError, util::KernelVersion};
use rustix::thread::CapabilitySet;
use thiserror::Error;

use super::{btf::BtfError, offsets::MemberError, pin::PinError};
use cgtrace_host::descriptors::next_step;

/// Why the probe cannot start. Each message contains what is wrong and what to do.
#[derive(Debug, Error)]
pub enum ProbeStartError {
    /// This process lacks the privilege to load programs.
    #[error(
        "no privilege to load the kernel program; run as root of the initial user namespace, or with the \
         capabilities CAP_BPF and CAP_PERFMON (in a unit: AmbientCapabilities=)"
    )]
    NoPrivilege,
    /// Pins cannot be created or taken over.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The kernel's BTF cannot be read.
    #[error(
        "failed to read the kernel's BTF `{}`; use a kernel built with CONFIG_DEBUG_INFO_BTF, or name the BTF file of \
         this kernel: `cgtrace daemon --btf FILE`, or `btf` in the configuration",
        path.display()
    )]
    NoBtf {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not valid BTF.
    #[error("`{}` is not a valid BTF file; name that of this kernel: `cgtrace daemon --btf FILE`, or `btf` in the configuration", path.display())]
    BadBtf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BtfError,
    },
    /// The kernel's structures differ from those of all known kernels.
    #[error("{source}, according to `{}`: this kernel is not supported yet; please report its version", path.display())]
    MissingMember {
        /// The file.
        path: PathBuf,
        /// What is missing.
        source: MemberError,
    },
    /// A map could not be created.
    #[error("failed to create the map `{map}`; {next_step}")]
    NoMap {
        /// The map.
        map: String,
        /// What to do.
        next_step: &'static str,
        /// The error.
        source: io::Error,
    },
    /// The kernel refused a required program.
    #[error("the kernel refused the program `{program}`: {reason}")]
    Refused {
        /// The program.
        program: String,
        /// Why, and what to do.
        reason: String,
        /// The error.
        source: Box<ProgramError>,
    },
    /// A required tracepoint cannot be attached to.
    #[error("failed to attach to the tracepoint `{hook}`; {}", attach_next_step(source))]
    NotAttached {
        /// The tracepoint.
        hook: String,
        /// Why.
        source: Box<ProgramError>,
    },
    /// A map cannot be mapped into memory.
    #[error("failed to map the BPF map `{map}` into memory; check the limit on address space (ulimit -v)")]
    Map {
        /// The map.
        map: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file of /proc cannot be read.
    #[error("failed to read `{}`; {}", path.display(), next_step(source, "check that /proc is mounted"))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program in this binary cannot be loaded.
    #[error("failed to load the kernel program of this binary; rebuild cgtrace")]
    Object(#[source] Box<EbpfError>),
    /// The program in this binary lacks a part.
    #[error("the kernel program of this binary has no `{name}`; rebuild cgtrace")]
    MissingPart {
        /// The part's name.
        name: &'static str,
    },
    /// The program's log cannot be read.
    #[error("failed to open the kernel program's log; start without it")]
    Log(#[source] Box<aya_log::Error>),
}

impl ProbeStartError {
    /// From the error of loading the object.
    pub(super) fn of_load(error: EbpfError) -> Self {
        match error {
            EbpfError::MapError(MapError::CreateError { name: map, io_error: source }) => {
                Self::of_map(map, source)
            }
            error => Self::Object(Box::new(error)),
        }
    }

    fn of_map(map: String, source: io::Error) -> Self {
        let next_step = match source.raw_os_error() {
            // Before Linux 5.11, maps count towards the limit on locked memory.
            Some(libc::EPERM) if is_privileged() && is_before(5, 11) => {
                "raise the limit on locked memory (LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`), or \
                 choose smaller rings"
            }
            Some(libc::EPERM | libc::EACCES) => return Self::NoPrivilege,
            Some(libc::EINVAL) => "use Linux 5.8 or later, which has the BPF ring buffer",
            _ => next_step(&source, "allow more memory, or choose smaller rings"),
        };
        Self::NoMap { map, next_step, source }
    }

    /// From the error of loading a program.
    pub(super) fn of_program(program: &str, error: ProgramError) -> Self {
        if let ProgramError::LoadError { io_error, .. } = &error
            && io_error.raw_os_error() == Some(libc::EPERM)
            && !is_privileged()
        {
            return Self::NoPrivilege;
        }
        Self::Refused { program: program.to_owned(), reason: refusal(&error), source: Box::new(error) }
    }
}

/// What to do about a tracepoint that cannot be attached to.
fn attach_next_step(error: &ProgramError) -> &'static str {
    let otherwise = "use Linux 5.8 or later, built with CONFIG_CGROUPS";
    match error {
        ProgramError::SyscallError(error) => next_step(&error.io_error, otherwise),
        ProgramError::IOError(error) => next_step(error, otherwise),
        _ => otherwise,
    }
}

/// A short reason why the kernel refused a program, and what to do.
pub(super) fn refusal(error: &ProgramError) -> String {
    let ProgramError::LoadError { io_error, verifier_log } = error else { return error.to_string() };
    let log = verifier_log.to_string();
    // kernel/trace/bpf_trace.c removes the helper under `LOCKDOWN_BPF_READ_KERNEL`.
    if log.contains("unknown func bpf_probe_read_kernel")
        || log.contains("program of this type cannot use helper bpf_probe_read_kernel")
    {
        return "kernel lockdown is in confidentiality mode, in which BPF programs cannot read kernel memory; boot with \
                lockdown=integrity or without lockdown"
            .to_owned();
    }
    match io_error.raw_os_error() {
        Some(libc::EPERM) => "not permitted; check whether a security module forbids BPF".to_owned(),
        Some(libc::EMFILE | libc::ENFILE) => next_step(io_error, "").to_owned(),
        _ => {
            let last =
                log.lines().rev().find(|line| !line.trim().is_empty() && !line.starts_with("processed "));
            format!(
                "{io_error}: {}; please report this with the kernel version",
                last.unwrap_or("no reason given")
            )
        }
    }
}

/// Whether this process has the capabilities, possibly only in a user namespace.
fn is_privileged() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| {
        sets.effective.contains(CapabilitySet::SYS_ADMIN)
            || sets.effective.contains(CapabilitySet::BPF | CapabilitySet::PERFMON)
    })
}

fn is_before(major: u8, minor: u8) -> bool {
    KernelVersion::current().is_ok_and(|current| current < KernelVersion::new(major, minor, 0))
}
