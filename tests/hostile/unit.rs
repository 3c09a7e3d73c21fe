//! The capabilities and limits of the packaged unit.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use cgtrace::daemon::service::NEEDS;
use rustix::thread::CapabilitySet;

/// The limits and capabilities of `deploy/systemd/cgtrace.service`.
pub struct Unit {
    /// In the unit's notation: `CAP_BPF`, ….
    pub capabilities: Vec<String>,
    /// `LimitNOFILE=`.
    pub descriptors: u64,
    /// `MemoryMax=` in bytes, if set.
    pub memory: Option<u64>,
}

impl Unit {
    pub fn read() -> Result<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/cgtrace.service");
        let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let value = |key: &str| {
            text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::trim)
        };
        let bounding = value("CapabilityBoundingSet").context("the unit has no CapabilityBoundingSet")?;
        Ok(Self {
            capabilities: bounding.split_whitespace().map(str::to_owned).collect(),
            descriptors: value("LimitNOFILE").context("the unit has no LimitNOFILE")?.parse()?,
            memory: value("MemoryMax").map(bytes).transpose()?,
        })
    }

    /// The capabilities in the notation of `setpriv`.
    pub fn set(&self) -> String {
        self.capabilities.iter().fold("-all".to_owned(), |set, name| {
            format!("{set},+{}", name.trim_start_matches("CAP_").to_lowercase())
        })
    }

    /// The capabilities as a kernel bit set.
    pub fn bits(&self) -> Result<CapabilitySet> {
        self.capabilities.iter().try_fold(CapabilitySet::empty(), |set, name| {
            let need = NEEDS.iter().find(|need| need.name == name);
            Ok(set | need.with_context(|| format!("{name} is not used by the daemon"))?.capability)
        })
    }
}

/// Parses a size in systemd's notation: `200M`, `1G`.
fn bytes(text: &str) -> Result<u64> {
    let (digits, shift) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(digits) => {
            (digits, [("K", 10), ("M", 20), ("G", 30)].iter().find(|(unit, _)| text.ends_with(unit)))
        }
        None => (text, None),
    };
    let number: u64 = digits.parse().with_context(|| format!("{text} is not a number of bytes"))?;
    Ok(number << shift.map_or(0, |(_, shift)| *shift))
}
