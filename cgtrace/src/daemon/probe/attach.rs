//! Attaching each hook by itself, so that a kernel without one of them loses that one only.

use std::os::fd::AsFd as _;

use aya::{
    Ebpf,
    programs::{
        BtfTracePoint, ProgramError, ProgramFd, ProgramInfo, RawTracePoint,
        links::{FdLink, PinnedLink},
    },
};
use cgtrace_common::Kind;

use super::{
    PinError, StartError,
    counters::{Loaded, Program},
    error::refusal,
    pin::{Folder, LINK, PROGRAM},
};

/// Keeps a program attached.
pub(super) enum Link {
    /// For as long as this is there.
    Ours { _link: FdLink },
    /// For as long as its pin is.
    Pinned { _pinned: PinnedLink },
}

/// A program, and the tracepoint that it is attached to. The kernel's prototypes stand in cgtrace-ebpf.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) name: &'static str,
    /// The tracepoint; most programs have its name.
    pub(super) tracepoint: &'static str,
    /// What its records are about; one of two, where its program tells them apart. `None`: it makes no record.
    pub(super) kind: Option<Kind>,
    need: Need,
}

const fn hook(name: &'static str, kind: Kind, need: Need) -> Hook {
    Hook { name, tracepoint: name, kind: Some(kind), need }
}

const fn exec(name: &'static str, kind: Option<Kind>) -> Hook {
    Hook { name, tracepoint: "sched_process_exec", kind, need: Need::IfWatched }
}

/// Every hook.
///
/// Their order is that of attaching, and what ends a life comes before what begins one: a cgroup whose making is
/// told, and whose removal fell between two attachings, would stay in the index for ever. A removal of what was
/// never told is harmless, and what was made before the last of them is found by the first walk.
pub(super) static HOOKS: [Hook; 19] = [
    hook("cgroup_rmdir", Kind::Rmdir, Need::Always),
    hook("cgroup_rename", Kind::Rename, Need::IfThere),
    hook("cgroup_destroy_root", Kind::RootRemoved, Need::IfThere),
    hook("cgroup_setup_root", Kind::RootAdded, Need::IfThere),
    hook("cgroup_mkdir", Kind::Mkdir, Need::Always),
    hook("cgroup_remount", Kind::Remount, Need::IfThere),
    hook("cgroup_release", Kind::Release, Need::IfThere),
    hook("cgroup_attach_task", Kind::Attach, Need::IfThere),
    hook("cgroup_transfer_tasks", Kind::Transfer, Need::IfThere),
    hook("cgroup_notify_populated", Kind::Populated, Need::IfThere),
    hook("cgroup_notify_frozen", Kind::Frozen, Need::IfThere),
    hook("cgroup_freeze", Kind::Freeze, Need::IfThere),
    hook("cgroup_unfreeze", Kind::Thaw, Need::IfThere),
    hook("sched_wakeup_new", Kind::Fork, Need::IfThere),
    // The kernel runs the programs of a tracepoint in the order of their attaching.
    exec("sched_process_exec", Some(Kind::Exec)),
    exec("sched_process_exec_2", Some(Kind::Exec)),
    exec("sched_process_exec_3", Some(Kind::Exec)),
    exec("sched_process_exec_4", Some(Kind::Exec)),
    exec("sched_process_exec_bell", None),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Without it there is no index.
    Always,
    /// Without it something is not told of.
    IfThere,
    /// As `IfThere`, but only when a process name is watched: it runs at every exec.
    IfWatched,
}

impl Hook {
    /// Whether there is no index without it.
    pub(super) fn is_vital(&self) -> bool {
        self.need == Need::Always
    }
}

/// A hook's program, loaded and attached.
struct Attached {
    /// Its name in the object.
    program: String,
    link: FdLink,
    loaded: Loaded,
}

/// Loads and attaches every hook, and pins them if there is a folder for that; says which are, and why others are not.
///
/// With the kernel's `btf` a hook that has a program that reads by types has that one, if the kernel takes it.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: Option<&aya::Btf>,
    watched: bool,
    pins: Option<&Folder>,
) -> Result<(Vec<Link>, Vec<Program>), StartError> {
    let mut links = Vec::new();
    let mut programs = Vec::new();
    for hook in &HOOKS {
        let name = hook.name;
        if hook.need == Need::IfWatched && !watched {
            programs.push(Program { hook, state: Err("no process name is watched".to_owned()) });
            continue;
        }
        let attached = match btf.and_then(|btf| typed(ebpf, name, btf)) {
            Some(attached) => Ok(attached),
            None => raw(ebpf, hook)?,
        };
        let state = match attached {
            Ok(Attached { program, link, loaded }) => {
                tracing::debug!(hook = name, program, "attached");
                links.push(match pins {
                    Some(folder) => pin(folder, name, ebpf.program_mut(&program), link)?,
                    None => Link::Ours { _link: link },
                });
                Ok(loaded)
            }
            Err(note) => {
                tracing::info!(hook = name, note, "left out");
                Err(note)
            }
        };
        programs.push(Program { hook, state });
    }
    Ok((links, programs))
}

/// The hook's program that reads by types; `None` without one, or if this kernel or its BTF will not have it.
fn typed(ebpf: &mut Ebpf, hook: &'static str, btf: &aya::Btf) -> Option<Attached> {
    let program = format!("{hook}_typed");
    let typed: &mut BtfTracePoint = ebpf.program_mut(&program)?.try_into().ok()?;
    let attached = typed.load(hook, btf).and_then(|()| {
        let id = typed.attach()?;
        let link = typed.take_link(id)?.into();
        Ok((link, loaded(typed.fd()?, &typed.info()?)?))
    });
    match attached {
        Ok((link, loaded)) => Some(Attached { program, link, loaded }),
        Err(error) => {
            tracing::debug!(hook, error = refusal(&error), "not by types");
            None
        }
    }
}

/// The hook's raw program, or why it is left out.
fn raw(ebpf: &mut Ebpf, hook: &'static Hook) -> Result<Result<Attached, String>, StartError> {
    let name = hook.name;
    let program = ebpf.program_mut(name).ok_or(StartError::Lacks { name })?;
    let program: &mut RawTracePoint = program.try_into().map_err(|_| StartError::Lacks { name })?;
    if let Err(error) = program.load() {
        if hook.is_vital() {
            return Err(StartError::of_program(name, error));
        }
        return Ok(Err(refusal(&error)));
    }
    match attach_raw(program, hook.tracepoint) {
        Ok((link, loaded)) => Ok(Ok(Attached { program: name.to_owned(), link, loaded })),
        Err(source) if hook.is_vital() => {
            Err(StartError::NotAttached { hook: name.to_owned(), source: Box::new(source) })
        }
        Err(error) => Ok(Err(reason(&error))),
    }
}

fn attach_raw(program: &mut RawTracePoint, hook: &str) -> Result<(FdLink, Loaded), ProgramError> {
    let id = program.attach(hook)?;
    let link = program.take_link(id)?.into();
    Ok((link, loaded(program.fd()?, &program.info()?)?))
}

fn loaded(fd: &ProgramFd, info: &ProgramInfo) -> Result<Loaded, ProgramError> {
    Ok(Loaded { fd: fd.as_fd().try_clone_to_owned()?, jited_bytes: info.size_jitted() })
}

fn pin(
    folder: &Folder,
    hook: &'static str,
    program: Option<&mut aya::programs::Program>,
    link: FdLink,
) -> Result<Link, StartError> {
    let path = folder.entry(&format!("{PROGRAM}{hook}"));
    let program = program.ok_or(StartError::Lacks { name: hook })?;
    program.pin(&path).map_err(|error| PinError::Pin { path, source: error.into() })?;
    let path = folder.entry(&format!("{LINK}{hook}"));
    let pinned = link.pin(&path);
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
