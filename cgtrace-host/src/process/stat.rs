//! Parses `/proc/PID/stat`.

/// Ns per tick of times in /proc: `USER_HZ` is 100.
const TICK_NS: u64 = 10_000_000;

/// `PF_KTHREAD` of include/linux/sched.h.
const KERNEL_THREAD: u32 = 0x0020_0000;
/// `PF_EXITING` of include/linux/sched.h.
const EXITING: u32 = 0x4;

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs.
    Alive,
    /// It is a kernel thread.
    KernelThread,
    /// Its leader has exited; other threads run.
    LeaderExited,
    /// All threads have exited.
    Zombie,
}

/// The fields in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The thread's comm.
    pub comm: Vec<u8>,
    /// The state of the process.
    pub state: ProcessState,
    /// The parent's pid.
    pub ppid: u32,
    /// When the process started: ns since boot, in steps of 10 ms.
    pub start_boot_ns: u64,
    /// Whether it sleeps and cannot be interrupted by a signal: state `D`.
    pub uninterruptible: bool,
    /// Whether a signal such as SIGSTOP has stopped it: state `T`.
    pub stopped: bool,
    /// Whether it is exiting.
    pub exiting: bool,
    /// The start addresses of its code and its stack, which each exec randomizes; 0 if this process may not
    /// trace it.
    pub image: (u64, u64),
}

/// Parses the line; `None` if it is invalid.
#[must_use]
pub fn parse_stat(line: &[u8]) -> Option<Stat> {
    // The comm is in parentheses and may contain any byte, including parentheses, spaces and newlines: it
    // ends at the last closing parenthesis.
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let comm = line.get(open + 1..close)?.to_vec();
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // The comm is followed by state (3) and ppid (4); flags is field 9, num_threads 20, starttime 22,
    // startcode 26, startstack 28.
    let letter = fields.next()?;
    let exited = matches!(letter, "Z" | "X" | "x");
    let ppid = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(9 - 5)?.parse().ok()?;
    let threads: u64 = fields.nth(20 - 10)?.parse().ok()?;
    let ticks: u64 = fields.nth(22 - 21)?.parse().ok()?;
    let mut address = |skip| fields.nth(skip).and_then(|field| field.parse().ok()).unwrap_or_default();
    let image = (address(26 - 23), address(28 - 27));
    let state = match exited {
        true if threads > 1 => ProcessState::LeaderExited,
        true => ProcessState::Zombie,
        false if flags & KERNEL_THREAD != 0 => ProcessState::KernelThread,
        false => ProcessState::Alive,
    };
    Some(Stat {
        comm,
        state,
        ppid,
        start_boot_ns: ticks.checked_mul(TICK_NS)?,
        uninterruptible: letter == "D",
        stopped: letter == "T",
        exiting: flags & EXITING != 0,
        image,
    })
}
