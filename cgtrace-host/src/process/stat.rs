//! `/proc/PID/stat`. Pure.

/// Ns in one tick of the times in /proc: `USER_HZ` is 100.
const TICK_NS: u64 = 10_000_000;

/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does, with its first thread.
    Alive,
    /// It does, and is the kernel's.
    KernelThread,
    /// Its first thread has exited; others run.
    LeaderExited,
    /// All of it has exited.
    Zombie,
}

/// What we want of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The thread's name.
    pub comm: Vec<u8>,
    /// Whether it runs.
    pub state: State,
    /// The parent's pid.
    pub ppid: u32,
    /// When the process began: ns since boot, in steps of 10 ms.
    pub start_boot_ns: u64,
    /// Where its code and its stack begin: 0 to those who may not trace it. Chosen anew by each exec.
    pub image: (u64, u64),
}

/// Reads the line; `None` if it is none.
#[must_use]
pub fn parse_stat(line: &[u8]) -> Option<Stat> {
    // The name stands in parentheses and may hold any byte, parentheses, spaces and newlines among them: it
    // ends with the last one.
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let comm = line.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // After the name come state (3) and ppid (4); flags is field 9, num_threads 20, starttime 22,
    // startcode 26, startstack 28.
    let exited = matches!(fields.next()?, "Z" | "X" | "x");
    let ppid = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(9 - 5)?.parse().ok()?;
    let threads: u64 = fields.nth(20 - 10)?.parse().ok()?;
    let ticks: u64 = fields.nth(22 - 21)?.parse().ok()?;
    let mut address = |skip| fields.nth(skip).and_then(|field| field.parse().ok()).unwrap_or_default();
    let image = (address(26 - 23), address(28 - 27));
    let state = match exited {
        true if threads > 1 => State::LeaderExited,
        true => State::Zombie,
        false if flags & KERNEL_THREAD != 0 => State::KernelThread,
        false => State::Alive,
    };
    Some(Stat { comm, state, ppid, start_boot_ns: ticks.checked_mul(TICK_NS)?, image })
}
