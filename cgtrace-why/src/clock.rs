//! Moments, of this process's clocks.

use cgtrace_client::wire::Timestamp;
use cgtrace_host::clock::{boot_ns, wall_ns};

/// What the wall clock shows at boot: ns since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor(i128);

impl Anchor {
    pub fn now() -> Self {
        Self(wall_ns() - i128::from(boot_ns()))
    }

    pub fn moment(self, boot_ns: u64) -> Timestamp {
        Timestamp::from_unix_ns(self.0 + i128::from(boot_ns), boot_ns)
    }
}
