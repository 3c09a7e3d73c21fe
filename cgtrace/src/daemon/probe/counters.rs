//! What the kernel counts: lost records, and each program's runs and misses.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
};

use aya::maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues};
use cgtrace_common::{Kind, Loss, SPARES};
use thiserror::Error;

use super::{error::StartError, hooks::Hook};

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

/// How many records were lost since the hooks were attached. Any increase means that something was not seen.
///
/// Among them are the runs of a program that did not take place because its CPU was running it already; kernels before
/// 5.12 do not count those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Those that feed the index.
    pub lifecycle: u64,
    /// The others.
    pub activity: u64,
    /// How many of the others are execs for certain, which move no task.
    pub execs: u64,
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
    /// The kernel's number for it, which no other program has until the next boot.
    pub(super) id: u32,
    /// The kernel's hash over its instructions.
    pub(super) tag: u64,
}

/// How many records were lost since the kernel program was loaded, by ring (true: the lifecycle ring) and hierarchy id.
/// `None` counts the records of which the hierarchy is not known: those that could not be read, and those that found no
/// entry in the map of counters. Runs that the kernel skipped are not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LostRecords(BTreeMap<(bool, Option<u32>), u64>);

impl LostRecords {
    /// The records that one ring lost, by hierarchy id.
    pub fn of_ring(&self, lifecycle: bool) -> impl Iterator<Item = (Option<u32>, u64)> {
        let of_ring = self.0.iter().filter(move |((of_lifecycle, _), _)| *of_lifecycle == lifecycle);
        of_ring.map(|((_, hierarchy), lost)| (*hierarchy, *lost))
    }

    /// The records of a hierarchy that both rings lost.
    #[must_use]
    pub fn of_hierarchy(&self, id: u32) -> u64 {
        [true, false].iter().filter_map(|ring| self.0.get(&(*ring, Some(id)))).sum()
    }
}

/// Where the counters are read.
pub(super) struct Counters {
    losses: PerCpuArray<MapData, u64>,
    lost_of: PerCpuHashMap<MapData, u64, u64>,
    spared: PerCpuArray<MapData, u64>,
    /// The missed execs of the last look, and those that two looks found.
    execs: Cell<(u64, u64)>,
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
        lost_of: PerCpuHashMap<MapData, u64, u64>,
        spared: PerCpuArray<MapData, u64>,
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
            spared,
            execs: Cell::default(),
            programs: programs.into_iter().map(counted).collect::<Result<_, StartError>>()?,
        })
    }

    pub(super) fn losses(&self) -> Result<Losses, CountError> {
        let mut losses = Losses::default();
        for loss in Loss::ALL {
            let lost: u64 = self.losses.get(&(loss as u32), 0)?.iter().sum();
            match loss {
                Loss::LifecycleRingFull | Loss::LifecycleReadFailed => losses.lifecycle += lost,
                Loss::ActivityRingFull | Loss::ActivityReadFailed => losses.activity += lost,
                Loss::LifecycleUnassigned | Loss::ActivityUnassigned => {}
            }
        }
        for Counted { program, page } in &self.programs {
            if let Some(page) = page {
                let Hook { name, kind, .. } = program.hook;
                let page = read(page).map_err(|source| CountError::Program { program: name, source })?;
                let missed = number(&page, "recursion_misses");
                match kind {
                    Some(Kind::Exec) => losses.execs = self.lost_execs(missed)?,
                    Some(kind) if kind.feeds_index() => losses.lifecycle += missed,
                    Some(_) => losses.activity += missed,
                    None => {}
                }
            }
        }
        losses.activity += losses.execs;
        Ok(losses)
    }

    /// How many of the execs that the first program was skipped for no other has dealt with.
    fn lost_execs(&self, skipped: u64) -> Result<u64, CountError> {
        let (before, confirmed) = self.execs.get();
        if skipped == 0 {
            return Ok(0);
        }
        let mut spared = 0;
        for turn in 0..SPARES {
            spared += self.spared.get(&turn, 0)?.iter().sum::<u64>();
        }
        // Of one in progress the stand-in may not have run yet: it counts if the next look finds it missing, too.
        let now = skipped.saturating_sub(spared);
        let confirmed = confirmed.max(before.min(now));
        self.execs.set((now, confirmed));
        Ok(confirmed)
    }

    pub(super) fn lost_records(&self) -> Result<LostRecords, CountError> {
        let mut lost = LostRecords::default();
        for entry in self.lost_of.iter() {
            let (key, counts): (u64, PerCpuValues<u64>) = entry?;
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the hierarchy id")]
            let hierarchy = key as u32;
            lost.0.insert((key >> 32 != 0, Some(hierarchy)), counts.iter().sum());
        }
        for (feeds_index, losses) in [
            (true, [Loss::LifecycleReadFailed, Loss::LifecycleUnassigned]),
            (false, [Loss::ActivityReadFailed, Loss::ActivityUnassigned]),
        ] {
            let mut count = 0;
            for loss in losses {
                count += self.losses.get(&(loss as u32), 0)?.iter().sum::<u64>();
            }
            lost.0.insert((feeds_index, None), count);
        }
        Ok(lost)
    }

    pub(super) fn programs(&self) -> Vec<ProgramState> {
        let state = |Counted { program, page }: &Counted| {
            let page = page.as_ref().and_then(|page| read(page).ok()).unwrap_or_default();
            ProgramState {
                name: program.hook.name,
                attached: program.state.is_ok(),
                note: program.state.as_ref().err().cloned(),
                missed: number(&page, "recursion_misses"),
                run_ns: number(&page, "run_time_ns"),
                run_count: number(&page, "run_cnt"),
                verified_instructions: number(&page, "verified_insns"),
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

/// The number in a line `NAME:\tNUMBER` (`bpf_prog_show_fdinfo` in kernel/bpf/syscall.c); 0 without one.
fn number(page: &str, name: &str) -> u64 {
    field(page, name).and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// The value of a line `NAME:\tVALUE`.
pub(super) fn field<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let page = "pos:\t0\nrun_time_ns:\t77\nrun_cnt:\t3\nrecursion_misses:\t2\n";
        assert_eq!(number(page, "run_cnt"), 3);
        assert_eq!(number(page, "recursion_misses"), 2);
        assert_eq!(number(page, "run"), 0);
        assert_eq!(number(page, "verified_insns"), 0);
    }
}
