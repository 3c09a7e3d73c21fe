//! CPU placement of two communicating processes. The scheduler's choice varies, and a wakeup across CPUs
//! costs more than the rest of a short call.

use anyhow::{Context as _, Result};
use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

#[derive(Clone, Copy)]
pub enum Placement {
    /// Both sides on one CPU.
    Together,
    /// Each side on a separate CPU.
    Apart,
}

pub const PLACEMENTS: [(Placement, &str); 2] =
    [(Placement::Together, "both on one CPU"), (Placement::Apart, "each on a CPU of its own")];

/// Pins this thread and the main threads of the given processes until dropped.
pub struct Placed {
    before: CpuSet,
    others: Vec<Pid>,
}

impl Placed {
    /// `None` if there are too few CPUs.
    pub fn place(placement: Placement, others: &[u32]) -> Result<Option<Self>> {
        let before = sched_getaffinity(None)?;
        let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| before.is_set(*cpu));
        let ours = cpus.next().context("no CPU")?;
        let theirs = match placement {
            Placement::Together => Some(ours),
            Placement::Apart => cpus.next(),
        };
        let Some(theirs) = theirs else { return Ok(None) };
        let others: Option<Vec<Pid>> = others.iter().map(|pid| Pid::from_raw(pid.cast_signed())).collect();
        let placed = Self { before, others: others.context("a process")? };
        sched_setaffinity(None, &only(ours))?;
        for other in &placed.others {
            sched_setaffinity(Some(*other), &only(theirs))?;
        }
        Ok(Some(placed))
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.before);
        for other in &self.others {
            let _ = sched_setaffinity(Some(*other), &self.before);
        }
    }
}

fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}
