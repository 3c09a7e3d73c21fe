//! Attaches each hook separately, so that a kernel without one of the tracepoints still gets the others.

use std::os::fd::AsFd as _;

use aya::{
    Ebpf,
    programs::{BtfTracePoint, ProgramError, ProgramFd, ProgramInfo, RawTracePoint, links::FdLink},
};

use super::{
    counters::{LoadedProgram, Program},
    error::{ProbeStartError, refusal},
    hooks::{HOOKS, Hook, NOT_TRACKED},
    pin::{Folder, LINK, PROGRAM},
};

/// A hook's program, loaded and attached.
struct Attached {
    /// Its name in the object.
    program: String,
    link: FdLink,
    loaded: LoadedProgram,
}

/// Loads and attaches every hook, and pins them if `pins` is set. Returns the state of each, and why it is
/// not attached. A program stays attached as long as its pin exists or, without pins, its link.
///
/// With `btf`, the typed program of a hook is preferred if there is one and the kernel accepts it.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: Option<&aya::Btf>,
    tracked: bool,
    pins: Option<&Folder>,
) -> Result<(Vec<FdLink>, Vec<Program>), ProbeStartError> {
    let mut links = Vec::new();
    let mut programs = Vec::new();
    for hook in &HOOKS {
        let name = hook.name;
        if hook.is_for_tracking() && !tracked {
            programs.push(Program { hook, state: Err(NOT_TRACKED.to_owned()) });
            continue;
        }
        let attached = match btf.and_then(|btf| typed(ebpf, name, btf)) {
            Some(attached) => Ok(attached),
            None => raw(ebpf, hook)?,
        };
        let state = match attached {
            Ok(Attached { program, link, loaded }) => {
                tracing::debug!(hook = name, program, "attached");
                match pins {
                    Some(folder) => pin(folder, name, ebpf.program_mut(&program), link)?,
                    None => links.push(link),
                }
                Ok(loaded)
            }
            Err(note) => {
                tracing::info!(hook = name, note, "hook not attached");
                Err(note)
            }
        };
        programs.push(Program { hook, state });
    }
    Ok((links, programs))
}

/// Attaches the hook's typed program; `None` if there is none, or the kernel refuses it.
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
            tracing::debug!(hook, error = refusal(&error), "typed program refused, using the raw one");
            None
        }
    }
}

/// Attaches the hook's raw program, or returns why it is not attached.
fn raw(ebpf: &mut Ebpf, hook: &'static Hook) -> Result<Result<Attached, String>, ProbeStartError> {
    let name = hook.name;
    let program = ebpf.program_mut(name).ok_or(ProbeStartError::MissingPart { name })?;
    let program: &mut RawTracePoint =
        program.try_into().map_err(|_| ProbeStartError::MissingPart { name })?;
    if let Err(error) = program.load() {
        if hook.is_required() {
            return Err(ProbeStartError::of_program(name, error));
        }
        return Ok(Err(refusal(&error)));
    }
    match attach_raw(program, hook.tracepoint) {
        Ok((link, loaded)) => Ok(Ok(Attached { program: name.to_owned(), link, loaded })),
        Err(source) if hook.is_required() => {
            Err(ProbeStartError::NotAttached { hook: name.to_owned(), source: Box::new(source) })
        }
        Err(error) => Ok(Err(reason(&error))),
    }
}

fn attach_raw(program: &mut RawTracePoint, hook: &str) -> Result<(FdLink, LoadedProgram), ProgramError> {
    let id = program.attach(hook)?;
    let link = program.take_link(id)?.into();
    Ok((link, loaded(program.fd()?, &program.info()?)?))
}

fn loaded(fd: &ProgramFd, info: &ProgramInfo) -> Result<LoadedProgram, ProgramError> {
    Ok(LoadedProgram {
        fd: fd.as_fd().try_clone_to_owned()?,
        jited_bytes: info.size_jitted(),
        id: info.id(),
        tag: info.tag(),
    })
}

fn pin(
    folder: &Folder,
    hook: &'static str,
    program: Option<&mut aya::programs::Program>,
    link: FdLink,
) -> Result<(), ProbeStartError> {
    let program = program.ok_or(ProbeStartError::MissingPart { name: hook })?;
    folder.pin(&format!("{PROGRAM}{hook}"), |path| program.pin(path))?;
    folder.pin(&format!("{LINK}{hook}"), |path| link.pin(path))?;
    Ok(())
}

fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {
            "this kernel does not have the tracepoint".to_owned()
        }
        error => error.to_string(),
    }
}
