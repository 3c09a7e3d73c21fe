//! The kernel: its version, BTF, lockdown and tracepoints.

use std::{collections::BTreeSet, fs};

use cgtrace_client::wire::{Check, Status};
use rustix::system::uname;

use super::{fail, ok, reason, warn};
use crate::{cli::text::size, daemon::probe};

/// The kernel's own BTF.
const BTF: &str = "/sys/kernel/btf/vmlinux";

/// The state of kernel lockdown, if securityfs is mounted.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// BTF has a type of this name for each tracepoint.
const TRACEPOINT_TYPE: &[u8] = b"btf_trace_";

/// The facts about the kernel.
#[derive(Debug)]
pub struct KernelFacts {
    release: String,
    machine: String,
    /// Its size and the tracepoints that it names, or why it cannot be read.
    btf: Result<(u64, BTreeSet<String>), String>,
    /// The content of the file; `None`: not visible.
    lockdown: Option<String>,
}

impl KernelFacts {
    pub fn gather() -> Self {
        let name = uname();
        Self {
            release: name.release().to_string_lossy().into_owned(),
            machine: name.machine().to_string_lossy().into_owned(),
            btf: fs::read(BTF)
                .map(|btf| (btf.len() as u64, tracepoints(&btf)))
                .map_err(|error| reason(&error)),
            lockdown: fs::read_to_string(LOCKDOWN).ok(),
        }
    }
}

/// The tracepoints that BTF has types for. Its strings are NUL-terminated.
fn tracepoints(btf: &[u8]) -> BTreeSet<String> {
    let strings = btf.split(|byte| *byte == 0).filter_map(|string| string.strip_prefix(TRACEPOINT_TYPE));
    strings.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

pub fn checks(facts: &KernelFacts, status: Option<&Status>) -> Vec<Check> {
    vec![version(facts), btf(facts, status.is_some()), lockdown(facts), hooks(facts, status)]
}

fn version(KernelFacts { release, machine, .. }: &KernelFacts) -> Check {
    let text = format!("Linux {release} {machine}");
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (5, 8) => {
            fail("kernel", text, "use Linux 5.8 or later, which has the BPF ring buffer")
        }
        _ => ok("kernel", text),
    }
}

fn btf(facts: &KernelFacts, daemon: bool) -> Check {
    match &facts.btf {
        Ok((bytes, _)) => ok("btf", format!("{BTF}, {}", size(*bytes))),
        Err(error) if daemon => ok("btf", format!("{BTF}: {error}; the daemon runs nevertheless")),
        Err(error) => fail(
            "btf",
            format!("{BTF}: {error}"),
            "cgtrace daemon --btf FILE, or a kernel with CONFIG_DEBUG_INFO_BTF=y",
        ),
    }
}

fn lockdown(facts: &KernelFacts) -> Check {
    let state = facts.lockdown.as_deref().map(|text| {
        let chosen = text.split(['[', ']']).nth(1);
        chosen.unwrap_or(text).trim()
    });
    match state {
        None => ok("lockdown", "not visible here, or not built into this kernel"),
        Some("confidentiality") => fail(
            "lockdown",
            "confidentiality: BPF programs cannot read kernel memory",
            "boot with lockdown=integrity or without lockdown",
        ),
        Some(state) => ok("lockdown", state),
    }
}

/// The hooks of the running daemon, else the tracepoints for them.
fn hooks(facts: &KernelFacts, status: Option<&Status>) -> Check {
    if let Some(status) = status {
        let (attached, others): (Vec<_>, Vec<_>) =
            status.programs.iter().partition(|program| program.attached);
        let text = format!("{} hooks attached", attached.len());
        // Hooks for tracked comms are left out on purpose.
        let missing: Vec<String> = others
            .iter()
            .filter(|program| program.note.as_deref() != Some(probe::NOT_TRACKED))
            .map(|program| {
                format!("{} ({})", program.name, program.note.as_deref().unwrap_or("no reason given"))
            })
            .collect();
        return if missing.is_empty() {
            ok("tracepoints", text)
        } else {
            warn(
                "tracepoints",
                format!("{text}; not attached: {}", missing.join(", ")),
                "their events are not reported; a newer kernel has them",
            )
        };
    }
    let Ok((_, known)) = &facts.btf else {
        return warn(
            "tracepoints",
            "unknown without BTF",
            "start the daemon: its log names the hooks that are not attached",
        );
    };
    let all: BTreeSet<(&str, bool)> = probe::tracepoints().collect();
    let missing: Vec<&(&str, bool)> = all.iter().filter(|(name, _)| !known.contains(*name)).collect();
    let names = || missing.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        ok("tracepoints", format!("all {} are in this kernel", all.len()))
    } else if missing.iter().any(|(_, required)| *required) {
        fail(
            "tracepoints",
            format!("missing: {}", names()),
            "use Linux 5.8 or later, built with CONFIG_CGROUPS and CONFIG_FTRACE",
        )
    } else {
        warn(
            "tracepoints",
            format!("missing: {}", names()),
            "their events are not reported; a newer kernel has them",
        )
    }
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::{
        CheckResult::{self, Fail, Warn},
        ProgramStatus,
    };

    use super::*;

    fn facts() -> KernelFacts {
        KernelFacts {
            release: "6.1.0-13-amd64".to_owned(),
            machine: "x86_64".to_owned(),
            btf: Ok((5 << 20, probe::tracepoints().map(|(name, _)| name.to_owned()).collect())),
            lockdown: Some("none [integrity] confidentiality\n".to_owned()),
        }
    }

    fn results(facts: &KernelFacts, status: Option<&Status>) -> Vec<CheckResult> {
        checks(facts, status).iter().map(|check| check.result).collect()
    }

    #[test]
    fn a_kernel_with_everything_is_fine() {
        assert_eq!(results(&facts(), None), [CheckResult::Ok; 4]);
        assert_eq!(lockdown(&facts()).text, "integrity");
        let status = Status {
            programs: vec![
                ProgramStatus { name: "cgroup_mkdir".to_owned(), attached: true, ..ProgramStatus::default() },
                ProgramStatus {
                    name: "sched_process_exec".to_owned(),
                    note: Some(probe::NOT_TRACKED.to_owned()),
                    ..ProgramStatus::default()
                },
            ],
            ..Status::default()
        };
        assert_eq!(results(&facts(), Some(&status)), [CheckResult::Ok; 4]);
        assert_eq!(hooks(&facts(), Some(&status)).text, "1 hooks attached");
    }

    #[test]
    fn what_is_missing_fails_and_says_what_to_do() {
        let facts = KernelFacts {
            release: "5.4.0".to_owned(),
            btf: Err("No such file or directory".to_owned()),
            lockdown: Some("none integrity [confidentiality]\n".to_owned()),
            ..facts()
        };
        assert_eq!(results(&facts, None), [Fail, Fail, Fail, Warn]);
        assert!(checks(&facts, None).iter().all(|check| check.next_step.is_some()));
    }

    #[test]
    fn a_tracepoint_is_required_or_not() {
        let without = |name: &str| {
            let mut facts = facts();
            facts.btf = facts.btf.map(|(bytes, mut known)| {
                known.remove(name);
                (bytes, known)
            });
            hooks(&facts, None)
        };
        assert_eq!(without("cgroup_mkdir").result, Fail);
        let optional = without("cgroup_notify_frozen");
        assert_eq!(optional.result, Warn);
        assert_eq!(optional.text, "missing: cgroup_notify_frozen");
    }

    #[test]
    fn tracepoints_are_found_among_the_strings() {
        let found = tracepoints(b"\x9f\xebx\0int\0btf_trace_cgroup_mkdir\0btf_trace\0");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["cgroup_mkdir"]);
    }
}
