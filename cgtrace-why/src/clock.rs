//! Timestamps from the clocks of this process.

use cgtrace_client::wire::Timestamp;
use cgtrace_host::clock::{boot_ns, wall_ns};

/// The wall clock time at boot: ns since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockAnchor(i128);

impl ClockAnchor {
    pub fn now() -> Self {
        Self(wall_ns() - i128::from(boot_ns()))
    }

    pub fn timestamp(self, boot_ns: u64) -> Timestamp {
        Timestamp::from_unix_ns(self.0 + i128::from(boot_ns), boot_ns)
    }
}
