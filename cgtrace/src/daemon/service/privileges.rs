//! Which capabilities the daemon uses, for how long, and how it gives them up.

use std::{fmt, io};

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

/// How long a capability is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the kernel program is attached.
    Loaded,
    /// Until the daemon ends.
    Ended,
}

/// A capability that the daemon uses.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// Its bit.
    pub capability: CapabilitySet,
    /// Its name.
    pub name: &'static str,
    /// For how long.
    pub until: Until,
    /// What fails without it.
    pub without: &'static str,
}

/// Every capability that the daemon uses. Each is proven by a test that runs the daemon without it
/// (`tests/promises/privileges.rs`).
pub const NEEDS: [Need; 3] = [
    Need {
        capability: CapabilitySet::BPF,
        name: "CAP_BPF",
        until: Until::Loaded,
        without: "the daemon does not start: the kernel makes no map",
    },
    Need {
        capability: CapabilitySet::PERFMON,
        name: "CAP_PERFMON",
        until: Until::Loaded,
        without: "the daemon does not start: the kernel loads no program that traces",
    },
    Need {
        capability: CapabilitySet::DAC_READ_SEARCH,
        name: "CAP_DAC_READ_SEARCH",
        until: Until::Ended,
        without: "what lies below a cgroup whose directory is closed to others is not found by a walk, and no cgroup \
                  can be opened by its id",
    },
];

/// What the daemon has kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept(CapabilitySet);

impl Kept {
    /// Whether a capability is among it.
    #[must_use]
    pub fn contains(self, capability: CapabilitySet) -> bool {
        self.0.contains(capability)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            NEEDS.iter().filter(|need| self.0.contains(need.capability)).map(|need| need.name).collect();
        f.write_str(if names.is_empty() { "none".to_owned() } else { names.join(" ") }.as_str())
    }
}

/// Gives up every capability that is not used any more, and the way back to any. Must be called on the only thread
/// of the process, after loading: threads that begin later have what is kept.
///
/// `counters_readable` says whether the kernel program's counters can be read. Before Linux 5.19 every bpf(2) call
/// needs `CAP_BPF` if unprivileged BPF is off, reading a map too; then that one is kept.
pub fn drop_after_loading(counters_readable: impl FnOnce() -> bool) -> io::Result<Kept> {
    set_no_new_privs(true)?;
    let had = capabilities(None)?.permitted;
    let wanted: CapabilitySet =
        NEEDS.iter().filter(|need| need.until == Until::Ended).map(|need| need.capability).collect();
    let mut kept = wanted & had;
    let bpf = CapabilitySet::BPF & had;
    // Not effective for a moment, but still permitted: it can be taken back.
    set(kept, kept | bpf)?;
    if !counters_readable() {
        kept |= bpf;
    }
    set(kept, kept)?;
    Ok(Kept(kept))
}

/// The ambient set follows: the kernel keeps it within the permitted and the inheritable one.
fn set(effective: CapabilitySet, permitted: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets { effective, permitted, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
