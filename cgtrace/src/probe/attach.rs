//! Attaching each hook by itself, so that a kernel without one of them loses that one only.

use aya::{
    Ebpf,
    programs::{
        ProgramError, RawTracePoint,
        links::{FdLink, PinnedLink},
        raw_trace_point::RawTracePointLink,
    },
};

use super::{
    PinError, StartError,
    counters::{Loaded, Program},
    error::refusal,
    pin::{Folder, LINK, PROGRAM},
};

/// Keeps a program attached.
pub(super) enum Link {
    /// For as long as this is there.
    Ours { _link: RawTracePointLink },
    /// For as long as its pin is.
    Pinned { _pinned: PinnedLink },
}

/// Every hook: its program's name, which is its tracepoint's. The kernel's prototypes stand in cgtrace-ebpf.
///
/// Their order is that of attaching, and what ends a life comes before what begins one: a cgroup whose making is
/// told, and whose removal fell between two attachings, would stay in the index for ever. A removal of what was
/// never told is harmless, and what was made before the last of them is found by the first walk.
pub(super) const HOOKS: [(&str, Need); 15] = [
    ("cgroup_rmdir", Need::Always),
    ("cgroup_rename", Need::IfThere),
    ("cgroup_destroy_root", Need::IfThere),
    ("cgroup_setup_root", Need::IfThere),
    ("cgroup_mkdir", Need::Always),
    ("cgroup_remount", Need::IfThere),
    ("cgroup_release", Need::IfThere),
    ("cgroup_attach_task", Need::IfThere),
    ("cgroup_transfer_tasks", Need::IfThere),
    ("cgroup_notify_populated", Need::IfThere),
    ("cgroup_notify_frozen", Need::IfThere),
    ("cgroup_freeze", Need::IfThere),
    ("cgroup_unfreeze", Need::IfThere),
    ("sched_process_fork", Need::IfThere),
    ("sched_process_exec", Need::IfWatched),
];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Without it there is no index.
    Always,
    /// Without it something is not told of.
    IfThere,
    /// As `IfThere`, but only when a process name is watched: it runs at every exec.
    IfWatched,
}

impl Need {
    pub(super) fn is_always(self) -> bool {
        self == Self::Always
    }
}

/// Loads and attaches every hook, and pins them if there is a folder for that; says which are, and why others are not.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    watched: bool,
    pins: Option<&Folder>,
) -> Result<(Vec<Link>, Vec<Program>), StartError> {
    let mut links = Vec::new();
    let mut programs = Vec::new();
    for (name, need) in HOOKS {
        if need == Need::IfWatched && !watched {
            programs.push(Program { name, state: Err("no process name is watched".to_owned()) });
            continue;
        }
        let program = ebpf.program_mut(name).ok_or(StartError::Lacks { name })?;
        let program: &mut RawTracePoint = program.try_into().map_err(|_| StartError::Lacks { name })?;
        if let Err(error) = program.load() {
            if need == Need::Always {
                return Err(StartError::of_program(name, error));
            }
            programs.push(Program { name, state: Err(refusal(&error)) });
            continue;
        }
        let state = match attach_one(program, name) {
            Ok((link, loaded)) => {
                links.push(match pins {
                    Some(folder) => pin(folder, name, program, link)?,
                    None => Link::Ours { _link: link },
                });
                Ok(loaded)
            }
            Err(source) if need == Need::Always => {
                return Err(StartError::NotAttached { hook: name.to_owned(), source: Box::new(source) });
            }
            Err(error) => Err(reason(&error)),
        };
        programs.push(Program { name, state });
    }
    for Program { name, state } in &programs {
        match state {
            Ok(_) => tracing::debug!(hook = name, "attached"),
            Err(note) => tracing::info!(hook = name, note, "left out"),
        }
    }
    Ok((links, programs))
}

fn attach_one(program: &mut RawTracePoint, hook: &str) -> Result<(RawTracePointLink, Loaded), ProgramError> {
    let id = program.attach(hook)?;
    let link = program.take_link(id)?;
    let jited_bytes = program.info()?.size_jitted();
    Ok((link, Loaded { fd: program.fd()?.try_clone()?, jited_bytes }))
}

fn pin(
    folder: &Folder,
    hook: &str,
    program: &mut RawTracePoint,
    link: RawTracePointLink,
) -> Result<Link, StartError> {
    let path = folder.entry(&format!("{PROGRAM}{hook}"));
    program.pin(&path).map_err(|error| PinError::Pin { path, source: error.into() })?;
    let path = folder.entry(&format!("{LINK}{hook}"));
    let pinned = FdLink::from(link).pin(&path);
    Ok(Link::Pinned { _pinned: pinned.map_err(|error| PinError::Pin { path, source: error.into() })? })
}

fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {
            "this kernel has no such tracepoint".to_owned()
        }
        error => error.to_string(),
    }
}
