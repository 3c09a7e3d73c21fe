//! The clocks of the reported times.

use std::time::SystemTime;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// A time as a call has it.
pub fn rfc3339(time: SystemTime) -> Result<String> {
    Ok(jiff::Timestamp::try_from(time)?.to_string())
}

/// ns since boot including suspend: cgtrace's clock.
pub fn boot_ns() -> u64 {
    ns(ClockId::Boottime)
}

/// ns of a clock that excludes suspend: systemd's.
pub fn monotonic_ns() -> u64 {
    ns(ClockId::Monotonic)
}

fn ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}
