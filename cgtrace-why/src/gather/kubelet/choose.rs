//! Selects the observer among processes of the same name.

use std::os::unix::ffi::OsStrExt as _;

use cgtrace_host::{
    hierarchy::HierarchyLine,
    process::{self, ProcessHandle},
};

use super::super::{Deadline, unit};
use crate::rules::{self, Program};

/// Finds the kubelet. Returns its pid and whether it belongs to its unit or to root; if several match, the error
/// lists them.
pub(in crate::gather) fn choose(deadline: Deadline) -> Result<Option<(u32, bool)>, Vec<String>> {
    let comms = Program::COMMS.map(str::as_bytes);
    let found = process::named(&comms).into_iter();
    let found: Vec<(Program, process::ProcessInfo)> =
        found.filter_map(|found| Some((program(&found.process, deadline)?, found))).collect();
    let runs = |program: &Program| found.iter().any(|(other, _)| other == program);
    let units = Program::ALL.into_iter().filter(runs).flat_map(Program::units);
    let units: Vec<_> = units.filter_map(|unit| unit::lookup(unit, deadline, &mut Vec::new())).collect();
    let named: Vec<_> = found.into_iter().map(|(_, found)| found).collect();
    select(&named, &units, deadline)
}

/// Whether a process is a kubelet, or contains one. Its command line is only read if its name leaves that open.
fn program(process: &process::ProcessStatus, deadline: Deadline) -> Option<Program> {
    let comm = String::from_utf8_lossy(&process.comm);
    Program::of(&comm, &[]).or_else(|| {
        let read = || {
            let handle = ProcessHandle::open(process.pid).ok().flatten()?;
            handle.arguments().ok().map(|arguments| arguments.value)
        };
        Program::of(&comm, &deadline.run_in_child(read)??)
    })
}

/// Selects a process: the main process of one of the units, the only one that belongs to a unit, or else the only
/// one of root or of the caller. Returns its pid and whether it belongs to its unit or to root.
pub(in crate::gather) fn select(
    named: &[process::ProcessInfo],
    units: &[unit::UnitInfo],
    deadline: Deadline,
) -> Result<Option<(u32, bool)>, Vec<String>> {
    if named.is_empty() {
        return Ok(None);
    }
    let known: Vec<_> = units.iter().filter(|unit| unit.facts.load_state != "not-found").collect();
    let owned = |found: &&process::ProcessInfo| match known.as_slice() {
        [] => unit::owns(None, found, deadline),
        known => known.iter().any(|unit| unit::owns(Some(unit), found, deadline)),
    };
    let of_unit: Vec<_> = named.iter().filter(owned).collect();
    let of_root: Vec<_> = named.iter().filter(|found| found.process.uid == 0).collect();
    let is_main = |pid| known.iter().any(|unit| unit.main_pid == Some(pid));
    let main = of_unit.iter().find(|found| is_main(found.process.pid));
    match (main, of_unit.as_slice(), of_root.as_slice(), named) {
        (Some(one), ..) | (None, [one], ..) | (None, [], [one], _) => Ok(Some((one.process.pid, true))),
        (None, [], [], [one]) if one.process.uid == rustix::process::getuid().as_raw() => {
            Ok(Some((one.process.pid, false)))
        }
        _ => Err(named.iter().map(candidate).collect()),
    }
}

/// Describes a candidate: its pid, real uid, program, and cgroup on the service manager's hierarchy, or else
/// on v2.
fn candidate(found: &process::ProcessInfo) -> String {
    let process::ProcessStatus { pid, uid, .. } = found.process;
    let handle = ProcessHandle::open(pid).ok().flatten();
    let program = handle.and_then(|handle| handle.executable_path().ok());
    let program = program.map_or_else(
        || "an unknown program".to_owned(),
        |path| rules::shell_bytes(path.as_os_str().as_bytes()),
    );
    let of_systemd = |line: &&HierarchyLine| line.name == "name=systemd" && line.path != b"/";
    let lines = &found.cgroups;
    let line = lines.iter().find(of_systemd).or_else(|| lines.iter().find(|line| line.id == 0));
    let cgroup = rules::shell_bytes(line.map(|line| line.path.as_slice()).unwrap_or_default());
    format!("pid {pid}, uid {uid}, {program}, in {cgroup}")
}
