//! What the kernel counts: lost records, and each program's runs and misses.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
};

use aya::maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues};
use cgtrace_common::{Kind, Loss};
use thiserror::Error;

use super::{StartError, attach::Hook};

/// Counters that cannot be read.
#[derive(Debug, Error)]
pub enum CountError {
    /// The kernel refused to read the map.
    #[error("failed to read the kernel program's counts of lost records")]
    Losses(#[from] MapError),
    /// The kernel refused to tell of a program.
    #[error("failed to read the state of the kernel program `{program}`")]
    Program {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// What was lost since the start. Any increase means that something was not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    records: [u64; Loss::ALL.len()],
    /// How often a program that feeds the index did not run because its CPU was running it already. 0 on kernels
    /// that do not count it (before 5.12).
    missed_index: u64,
    /// Likewise of the other programs.
    missed_told: u64,
    /// The most execs that may have been missed: how often the program that was skipped least was.
    missed_execs: u64,
}

impl Losses {
    /// How many records were lost for that reason.
    #[must_use]
    pub fn of(&self, loss: Loss) -> u64 {
        self.records[loss as usize]
    }

    /// How many records that feed the index were lost.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.of(Loss::IndexRingFull) + self.of(Loss::IndexReadFailed) + self.missed_index
    }

    /// How many other records were lost.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.of(Loss::ToldRingFull) + self.of(Loss::ToldReadFailed) + self.missed_told + self.missed_execs
    }

    /// How many of [`told`](Self::told) are execs for certain: no task was moved by them.
    #[must_use]
    pub fn execs(&self) -> u64 {
        self.missed_execs
    }
}

/// A hook's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramState {
    /// Its name, which is its tracepoint's.
    pub name: &'static str,
    /// Whether it is attached.
    pub attached: bool,
    /// Why it is not.
    pub note: Option<String>,
    /// How often it did not run because its CPU was running it already.
    pub missed: u64,
    /// For how long it ran, in ns; counted while the kernel's BPF statistics are on.
    pub run_ns: u64,
    /// How often it ran; likewise.
    pub run_count: u64,
    /// How many instructions the verifier followed; 0 on kernels that do not tell (before 5.16).
    pub verified_instructions: u64,
    /// The size of its machine code in bytes; 0 where the kernel interprets it.
    pub jited_bytes: u32,
}

/// A program as it was attached, or was not.
pub(super) struct Program {
    pub(super) hook: &'static Hook,
    /// What was loaded, or why it is left out.
    pub(super) state: Result<Loaded, String>,
}

/// A program that the kernel took.
pub(super) struct Loaded {
    pub(super) fd: OwnedFd,
    /// The size of its machine code in bytes. /proc does not tell it, so that it is asked for once.
    pub(super) jited_bytes: u32,
}

/// Where the counters are read.
pub(super) struct Counters {
    losses: PerCpuArray<MapData, u64>,
    lost_of: PerCpuHashMap<MapData, u32, u64>,
    programs: Vec<Counted>,
}

struct Counted {
    program: Program,
    /// The descriptor's page in /proc, read again and again: aya does not tell of misses, and a path cannot be
    /// opened any more once the daemon has dropped its privileges.
    page: Option<File>,
}

impl Counters {
    pub(super) fn new(
        losses: PerCpuArray<MapData, u64>,
        lost_of: PerCpuHashMap<MapData, u32, u64>,
        programs: Vec<Program>,
    ) -> Result<Self, StartError> {
        let counted = |program: Program| {
            let page = program.state.as_ref().ok().map(|loaded| {
                let path = format!("/proc/self/fdinfo/{}", loaded.fd.as_fd().as_raw_fd());
                File::open(&path).map_err(|source| StartError::Read { path: path.into(), source })
            });
            Ok(Counted { program, page: page.transpose()? })
        };
        Ok(Self {
            losses,
            lost_of,
            programs: programs.into_iter().map(counted).collect::<Result<_, StartError>>()?,
        })
    }

    pub(super) fn losses(&self) -> Result<Losses, CountError> {
        let mut losses = Losses::default();
        let mut execs = None;
        for loss in Loss::ALL {
            losses.records[loss as usize] = self.losses.get(&(loss as u32), 0)?.iter().sum();
        }
        for Counted { program, page } in &self.programs {
            if let Some(page) = page {
                let Hook { name, kind, .. } = program.hook;
                let page = read(page).map_err(|source| CountError::Program { program: name, source })?;
                let missed = field(&page, "recursion_misses");
                match kind {
                    Some(Kind::Exec) => execs = Some(execs.map_or(missed, |least: u64| least.min(missed))),
                    Some(kind) if kind.feeds_index() => losses.missed_index += missed,
                    Some(_) => losses.missed_told += missed,
                    None => {}
                }
            }
        }
        losses.missed_execs = execs.unwrap_or_default();
        Ok(losses)
    }

    pub(super) fn lost_by_hierarchy(&self) -> Result<BTreeMap<u32, u64>, CountError> {
        let of_hierarchy = |entry: Result<_, MapError>| {
            let (hierarchy, lost): (u32, PerCpuValues<u64>) = entry?;
            Ok((hierarchy, lost.iter().sum()))
        };
        self.lost_of.iter().map(of_hierarchy).collect()
    }

    pub(super) fn programs(&self) -> Vec<ProgramState> {
        let state = |Counted { program, page }: &Counted| {
            let page = page.as_ref().and_then(|page| read(page).ok()).unwrap_or_default();
            ProgramState {
                name: program.hook.name,
                attached: program.state.is_ok(),
                note: program.state.as_ref().err().cloned(),
                missed: field(&page, "recursion_misses"),
                run_ns: field(&page, "run_time_ns"),
                run_count: field(&page, "run_cnt"),
                verified_instructions: field(&page, "verified_insns"),
                jited_bytes: program.state.as_ref().map_or(0, |loaded| loaded.jited_bytes),
            }
        };
        self.programs.iter().map(state).collect()
    }
}

/// Reads a page of /proc from its beginning, which makes the kernel write it anew.
fn read(page: &File) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let len = page.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// The value of a line `NAME:\tVALUE` (`bpf_prog_show_fdinfo` in kernel/bpf/syscall.c); 0 without one.
fn field(page: &str, name: &str) -> u64 {
    page.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let page = "pos:\t0\nrun_time_ns:\t77\nrun_cnt:\t3\nrecursion_misses:\t2\n";
        assert_eq!(field(page, "run_cnt"), 3);
        assert_eq!(field(page, "recursion_misses"), 2);
        assert_eq!(field(page, "run"), 0);
        assert_eq!(field(page, "verified_insns"), 0);
    }
}
