//! Moments, of this process's clocks.

use cgtrace_client::wire::Moment;
use cgtrace_host::process::kernel_boot_ns;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Ns since boot by the kernel's own clock, suspended time included.
pub(crate) fn boot_ns() -> u64 {
    kernel_boot_ns(u64::try_from(now(ClockId::Boottime)).unwrap_or(0))
}

fn now(clock: ClockId) -> i128 {
    let now = clock_gettime(clock);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// What the wall clock shows at boot: ns since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor(i128);

impl Anchor {
    pub fn now() -> Self {
        Self(now(ClockId::Realtime) - i128::from(boot_ns()))
    }

    pub fn moment(self, boot_ns: u64) -> Moment {
        let time = Timestamp::from_nanosecond(self.0 + i128::from(boot_ns));
        Moment { time: time.map_or_else(|_| String::new(), |time| format!("{time:.9}")), boot_ns }
    }
}
