//! The clocks of this machine, and the boot that they count from.

use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};

use crate::process::kernel_boot_ns;

/// Ns since boot, including suspend, outside of any time namespace: the clock of the kernel program's
/// records.
#[must_use]
pub fn boot_ns() -> u64 {
    kernel_boot_ns(u64::try_from(read(ClockId::Boottime)).unwrap_or(0))
}

/// Ns since the Unix epoch.
#[must_use]
pub fn wall_ns() -> i128 {
    read(ClockId::Realtime)
}

/// The id of this boot: another after each boot, the same in every namespace.
///
/// # Errors
/// /proc is not mounted.
pub fn boot_id() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim_end().to_owned())
}

fn read(clock: ClockId) -> i128 {
    let now = clock_gettime(clock);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}
