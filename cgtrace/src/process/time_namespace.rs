//! How far this process's boot clock is from the kernel's: `unshare --time --boottime` moves it for us and in
//! /proc, but not in the records (`bpf_ktime_get_boot_ns` knows no namespace).

use std::{fs, sync::LazyLock};

static OFFSET_NS: LazyLock<i64> = LazyLock::new(|| {
    // Before Linux 5.6, and without /proc, there is no such file: then there is no such namespace, or none to see.
    fs::read_to_string("/proc/self/timens_offsets").ok().and_then(|text| offset(&text)).unwrap_or(0)
});

/// A moment of this process's boot clock, or of `/proc`, on the kernel's: ns since boot.
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
    fn the_boot_clock_s_line_counts() {
        let text = "monotonic           7         8\nboottime       86400         5\n";
        assert_eq!(offset(text), Some(86_400_000_000_005));
        assert_eq!(offset("boottime           -3         0\n"), Some(-3_000_000_000));
        assert_eq!(offset("monotonic 0 0\n"), None);
    }
}
