//! The daemon retains only the capabilities that it uses.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use aya::util::KernelVersion;
use cgtrace::daemon::service::NEEDS;
use libtest_mimic::Trial;
use rustix::thread::CapabilitySet;

use super::{stage::Stage, unit::Unit};
use crate::support::{Outcome, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("capabilities::one_is_retained_after_startup", one_is_retained),
        trial("capabilities::the_unit_grants_exactly_the_required_ones", unit),
    ]
}

fn one_is_retained() -> Outcome {
    let stage = Stage::start()?;
    let mut allowed = CapabilitySet::DAC_READ_SEARCH;
    // Before 5.19, reading the counters of a map needs CAP_BPF if unprivileged BPF is disabled.
    if KernelVersion::current()? < KernelVersion::new(5, 19, 0) {
        allowed |= CapabilitySet::BPF;
    }
    let granted = Unit::read()?.bits()?;
    for task in fs::read_dir(format!("/proc/{}/task", stage.pid()))? {
        let task = task?.path();
        for field in ["CapPrm", "CapEff"] {
            let held = set(&task, field)?;
            ensure!(
                held.contains(CapabilitySet::DAC_READ_SEARCH) && allowed.contains(held),
                "{field}: {held:?}"
            );
        }
        ensure!(set(&task, "CapInh")?.is_empty() && set(&task, "CapAmb")?.is_empty());
        ensure!(granted.contains(set(&task, "CapBnd")?), "CapBnd: {:?}", set(&task, "CapBnd")?);
    }
    ensure!(stage.status("NoNewPrivs")? == "1");
    stage.finish()
}

fn set(task: &Path, field: &str) -> Result<CapabilitySet> {
    let status = fs::read_to_string(task.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    Ok(CapabilitySet::from_bits_retain(u64::from_str_radix(
        line.with_context(|| format!("no {field}"))?,
        16,
    )?))
}

fn unit() -> Outcome {
    let unit = Unit::read()?;
    let needed: Vec<&str> = NEEDS.iter().map(|need| need.name).collect();
    ensure!(unit.capabilities == needed, "the unit grants {:?}, required are {needed:?}", unit.capabilities);
    ensure!(!needed.contains(&"CAP_SYS_PTRACE"));
    Ok(())
}
