//! The capabilities that the daemon needs, for how long, and dropping them.

use std::{fmt, io};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// How long a capability is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the kernel program is attached.
    Loaded,
    /// Until the daemon ends.
    Ended,
}

/// A capability that the daemon needs.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Its bit.
    pub capability: CapabilitySet,
    /// Its name.
    pub name: &'static str,
    /// How long it is needed.
    pub until: Until,
    /// What fails without it.
    pub without: &'static str,
}

/// Every capability that the daemon needs. For each, a test runs the daemon without it
/// (`tests/promises/privileges.rs`).
pub const NEEDS: [Need; 3] = [
    Need {
        capability: CapabilitySet::BPF,
        name: "CAP_BPF",
        until: Until::Loaded,
        without: "the daemon does not start: the kernel does not create maps",
    },
    Need {
        capability: CapabilitySet::PERFMON,
        name: "CAP_PERFMON",
        until: Until::Loaded,
        without: "the daemon does not start: the kernel does not load tracing programs",
    },
    Need {
        capability: CapabilitySet::DAC_READ_SEARCH,
        name: "CAP_DAC_READ_SEARCH",
        until: Until::Ended,
        without: "scans cannot read cgroup directories that are closed to other users, and no cgroup can be opened by \
                  its id",
    },
];

/// The capabilities that the daemon has retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetainedCapabilities(CapabilitySet);

impl RetainedCapabilities {
    /// Whether a capability was retained.
    #[must_use]
    pub fn contains(self, capability: CapabilitySet) -> bool {
        self.0.contains(capability)
    }
}

impl fmt::Display for RetainedCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            NEEDS.iter().filter(|need| self.0.contains(need.capability)).map(|need| need.name).collect();
        f.write_str(if names.is_empty() { "none".to_owned() } else { names.join(" ") }.as_str())
    }
}

/// Irrevocably drops every capability that is no longer needed. Call it after loading, while the process has
/// a single thread: threads that start later inherit the retained capabilities.
///
/// `counters_readable` returns whether the kernel program's counters can be read. Before Linux 5.19 every
/// bpf(2) call, including reading a map, needs `CAP_BPF` if unprivileged BPF is off; then `CAP_BPF` is
/// retained.
pub fn drop_after_loading(counters_readable: impl FnOnce() -> bool) -> io::Result<RetainedCapabilities> {
    set_no_new_privs(true)?;
    let had = capabilities(None)?.permitted;
    let wanted: CapabilitySet =
        NEEDS.iter().filter(|need| need.until == Until::Ended).map(|need| need.capability).collect();
    let mut retained = wanted & had;
    let bpf = CapabilitySet::BPF & had;
    // Not effective during the check, but still permitted, so that it can be restored.
    set(retained, retained | bpf)?;
    if !counters_readable() {
        retained |= bpf;
    }
    set(retained, retained)?;
    Ok(RetainedCapabilities(retained))
}

/// The kernel limits the ambient set to the permitted and inheritable sets.
fn set(effective: CapabilitySet, permitted: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
