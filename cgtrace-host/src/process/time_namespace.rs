//! The offset of this process's boot clock: a time namespace (`unshare --time --boottime`) moves the clock of
//! its processes and the times in /proc, but not the records (`bpf_ktime_get_boot_ns` ignores time
//! namespaces).

use std::{fs, sync::LazyLock};

static OFFSET_NS: LazyLock<i64> = LazyLock::new(|| {
    // Before Linux 5.6, which has no time namespaces, and without /proc, the file does not exist.
    fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| offset(&text)).unwrap_or(0)
});

/// Since Linux 5.11 the start time in `/proc/PID/stat` is on the reader's boot clock, before on the initial
/// one.
static PROC_HAS_OFFSET: LazyLock<bool> =
    LazyLock::new(|| release(&rustix::system::uname().release().to_string_lossy()) >= (5, 11));

/// Converts the start time in `/proc/PID/stat` to the initial boot clock.
#[must_use]
pub(super) fn start_boot_ns(proc_ns: u64) -> u64 {
    if *PROC_HAS_OFFSET { kernel_boot_ns(proc_ns) } else { proc_ns }
}

/// The first two numbers of a kernel release. An unparsable release counts as new.
fn release(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (u32::MAX, 0),
    }
}

/// Converts a time of this process's boot clock to the initial boot clock.
#[must_use]
pub fn kernel_boot_ns(boot_ns: u64) -> u64 {
    boot_ns.saturating_add_signed(OFFSET_NS.saturating_neg())
}

/// The line `boottime SECONDS NANOSECONDS`, in ns.
fn offset(text: &str) -> Option<i64> {
    let line = text.lines().find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = line.split_whitespace().map(str::parse::<i64>);
    let (seconds, nanoseconds) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_parsed() {
        assert_eq!(release("5.10.0-32-cloud-amd64"), (5, 10));
        assert_eq!(release("7.3-rc1"), (7, 3));
        assert_eq!(release("x"), (u32::MAX, 0));
    }

    #[test]
    fn the_offset_of_the_boot_clock_is_parsed() {
        let text = "monotonic           7         8\nboottime       86400         5\n";
        assert_eq!(offset(text), Some(86_400_000_000_005));
        assert_eq!(offset("boottime           -3         0\n"), Some(-3_000_000_000));
        assert_eq!(offset("monotonic 0 0\n"), None);
    }
}
