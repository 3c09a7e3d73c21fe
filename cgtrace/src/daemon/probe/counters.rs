//! The kernel's counters: lost records, and the runs and misses of each program.

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
use cgtrace_common::{BACKUP_PROGRAMS, Kind, Loss};
use thiserror::Error;

use super::{error::ProbeStartError, hooks::Hook};

/// Why counters could not be read.
#[derive(Debug, Error)]
pub enum CountError {
    /// The kernel refused to read the map.
    #[error("failed to read the kernel program's counters of lost records")]
    Losses(#[from] MapError),
    /// The kernel refused to report the state of a program.
    #[error("failed to read the state of the kernel program `{program}`")]
    Program {
        /// The program.
        program: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// How many records were lost since the hooks were attached. Any increase means that events are missing.
///
/// This includes missed runs: those that the kernel skipped because the CPU was already running the program.
/// Kernels before 5.12 do not count them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Lifecycle records, which feed the index.
    pub lifecycle: u64,
    /// Activity records.
    pub activity: u64,
    /// How many of the activity records are known to be execs, which do not move tasks.
    pub execs: u64,
}

/// The state of a hook's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramState {
    /// The name of the hook.
    pub name: &'static str,
    /// Whether it is attached.
    pub attached: bool,
    /// Why it is not attached.
    pub note: Option<String>,
    /// How often the kernel skipped it because the CPU was already running it.
    pub missed: u64,
    /// Its total run time in ns; counted while the kernel's BPF statistics are on.
    pub run_ns: u64,
    /// How often it ran; counted likewise.
    pub run_count: u64,
    /// How many instructions the verifier processed; 0 on kernels that do not report it (before 5.16).
    pub verified_instructions: u64,
    /// The size of its machine code in bytes; 0 if the kernel interprets it.
    pub jited_bytes: u32,
}

/// A hook's program, attached or not.
pub(super) struct Program {
    pub(super) hook: &'static Hook,
    /// The loaded program, or why it is not attached.
    pub(super) state: Result<LoadedProgram, String>,
}

/// A program that the kernel accepted.
pub(super) struct LoadedProgram {
    pub(super) fd: OwnedFd,
    /// The size of its machine code in bytes, queried once because /proc does not show it.
    pub(super) jited_bytes: u32,
    /// The kernel's id of it, unique until the next boot.
    pub(super) id: u32,
    /// The kernel's hash over its instructions.
    pub(super) tag: u64,
}

/// How many records were lost since the kernel program was loaded, by ring (true: the lifecycle ring) and
/// hierarchy id. `None` counts records of unknown hierarchy: those that could not be read, and those for
/// which the map of counters had no entry. Missed runs are not included.
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

/// Reads the counters.
pub(super) struct Counters {
    losses: PerCpuArray<MapData, u64>,
    lost_of: PerCpuHashMap<MapData, u64, u64>,
    recovered: PerCpuArray<MapData, u64>,
    /// Missed execs at the last read, and those confirmed by two reads.
    execs: Cell<(u64, u64)>,
    programs: Vec<ProgramCounters>,
}

struct ProgramCounters {
    program: Program,
    /// The program's fdinfo file in /proc: aya does not report misses. It stays open because the daemon could
    /// not open it after dropping its privileges.
    page: Option<File>,
}

impl Counters {
    pub(super) fn new(
        losses: PerCpuArray<MapData, u64>,
        lost_of: PerCpuHashMap<MapData, u64, u64>,
        recovered: PerCpuArray<MapData, u64>,
        programs: Vec<Program>,
    ) -> Result<Self, ProbeStartError> {
        let open = |program: Program| {
            let page = program.state.as_ref().ok().map(|loaded| {
                let path = format!("/proc/self/fdinfo/{}", loaded.fd.as_fd().as_raw_fd());
                File::open(&path).map_err(|source| ProbeStartError::Read { path: path.into(), source })
            });
            Ok(ProgramCounters { program, page: page.transpose()? })
        };
        Ok(Self {
            losses,
            lost_of,
            recovered,
            execs: Cell::default(),
            programs: programs.into_iter().map(open).collect::<Result<_, ProbeStartError>>()?,
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
        for ProgramCounters { program, page } in &self.programs {
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

    /// How many execs the first program was skipped for and no backup program handled.
    fn lost_execs(&self, skipped: u64) -> Result<u64, CountError> {
        let (before, confirmed) = self.execs.get();
        if skipped == 0 {
            return Ok(0);
        }
        let mut recovered = 0;
        for turn in 0..BACKUP_PROGRAMS {
            recovered += self.recovered.get(&turn, 0)?.iter().sum::<u64>();
        }
        // For an exec in progress the backup program may not have run yet: it counts if the next read
        // confirms it.
        let now = skipped.saturating_sub(recovered);
        let confirmed = confirmed.max(before.min(now));
        self.execs.set((now, confirmed));
        Ok(confirmed)
    }

    pub(super) fn lost_records(&self) -> Result<LostRecords, CountError> {
        let mut lost = LostRecords::default();
        for entry in &self.lost_of {
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
        let state = |ProgramCounters { program, page }: &ProgramCounters| {
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

/// Reads a file of /proc from offset 0, which makes the kernel generate it again.
fn read(page: &File) -> io::Result<String> {
    let mut bytes = [0; 1024];
    let len = page.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// The number in the line `NAME:\tNUMBER` (`bpf_prog_show_fdinfo` in kernel/bpf/syscall.c); 0 if it is
/// missing.
fn number(page: &str, name: &str) -> u64 {
    field(page, name).and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// The value in the line `NAME:\tVALUE`.
pub(super) fn field<'a>(page: &'a str, name: &str) -> Option<&'a str> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_matched_by_their_whole_name() {
        let page = "pos:\t0\nrun_time_ns:\t77\nrun_cnt:\t3\nrecursion_misses:\t2\n";
        assert_eq!(number(page, "run_cnt"), 3);
        assert_eq!(number(page, "recursion_misses"), 2);
        assert_eq!(number(page, "run"), 0);
        assert_eq!(number(page, "verified_insns"), 0);
    }
}
