//! One boot under QEMU.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::Mode;
use crate::lab;

/// A kernel to boot, and the tests to run in it.
pub struct Machine<'a> {
    pub kernel: &'a Path,
    pub archive: &'a Path,
    pub mode: Mode,
    pub all: bool,
    /// Only tests whose name contains this.
    pub test: Option<&'a str>,
}

/// The result of a boot.
pub struct BootResult {
    pub console: String,
    pub took: Duration,
    pub timed_out: bool,
    /// The number of harness runs to expect.
    pub passes: usize,
}

/// Tests that do not run in machines, with the reason. An emulated machine is about ten times slower.
pub const EXCLUDED: [(&str, &str); 15] = [
    ("hostile::", "untrusted input does not depend on the kernel"),
    ("linear::", "a hundred thousand answers during a hundred thousand changes"),
    ("start::t14_churn", "about ten starts, each at the top rate of changes"),
    ("start::many_cgroups", "ten thousand cgroups"),
    ("agreement::stat_agrees", "changes on every CPU during queries"),
    ("lifecycle::three_thousand", "three thousand rounds"),
    ("waiting::10000", "ten thousand waiters"),
    ("metrics::", "metrics do not depend on the kernel"),
    ("messages::", "messages and exit codes do not depend on the kernel"),
    ("configuration::", "the configuration does not depend on the kernel"),
    ("schema::", "the output format does not depend on the kernel"),
    ("why::out_of_inotify", "the time limit for counting descriptors is too short for an emulated CPU"),
    ("protocol::every", "examples in documents do not depend on the kernel"),
    ("protocol::what_no", "examples in documents do not depend on the kernel"),
    ("supervised::", "notifications do not depend on the kernel"),
];

/// The slowest of the others, which only `--all` runs.
pub const LONG: [(&str, &str); 14] = [
    ("history::", "how events are stored does not depend on the kernel"),
    ("recorder::", "how events are stored does not depend on the kernel"),
    ("completions::", "completions do not depend on the kernel"),
    ("witnesses::", "thousands of events, each compared with another tracer's"),
    ("names::", "paths of thousands of bytes"),
    ("faults::out_of", "many starts"),
    ("faults::a_pid", "thousands of processes"),
    ("faults::a_boot", "a start in a namespace"),
    ("protocol::", "hundreds of calls"),
    ("privileges::", "many starts"),
    ("access::", "many starts"),
    ("why::", "many starts"),
    ("traps::t8", "thousands of cgroups"),
    ("traps::t16", "thousands of cgroups"),
];

/// How often to boot a machine whose kernel stops at one of its own breakpoints.
const BOOTS: u32 = 3;

/// The prefix of a console line for each boot that ended so.
pub const DIED: &str = "@@DIED ";

impl Machine<'_> {
    /// Boots, runs the tests, and returns the console's output.
    ///
    /// The kernel uses breakpoints to patch its own code. QEMU's emulated CPUs, one thread each, occasionally
    /// run one that was removed already, and the kernel stops with `int3`: seen two seconds after its start,
    /// before cgtrace ran. Such a machine is booted again, and its row shows that.
    pub fn run(&self) -> Result<BootResult> {
        let mut died = String::new();
        let mut boot = 1;
        loop {
            let result = self.boot()?;
            match stopped_at_breakpoint(&result.console).filter(|_| boot < BOOTS) {
                Some(line) => {
                    let log = lab::folder()?.join(format!("vm-died-{boot}.log"));
                    fs::write(&log, &result.console)
                        .with_context(|| format!("failed to write {}", log.display()))?;
                    eprintln!(
                        "vm: boot {boot} ended with `{line}`, console log in {}; booting again",
                        log.display()
                    );
                    died.push_str(&format!("{DIED}{line}\n"));
                    boot += 1;
                }
                None => return Ok(BootResult { console: died + &result.console, ..result }),
            }
        }
    }

    fn boot(&self) -> Result<BootResult> {
        let folder = lab::folder()?.join("vm");
        let (jobs, log) = (folder.join("jobs"), folder.join("console"));
        let overlay = folder.join("jobs.cpio");
        let _ = fs::remove_dir_all(&jobs);
        fs::create_dir_all(&jobs)?;
        fs::write(jobs.join("run-tests"), self.script())?;
        let _ = fs::remove_file(&log);
        // The kernel unpacks concatenated archives: the part that differs is a small one after a large one.
        let line =
            "cp \"$1\" \"$2\" && cd \"$3\" && find . -print0 | cpio --quiet -0 -o -H newc -R 0:0 >>\"$2\"";
        super::quietly(Command::new("sh").args(["-c", line, "sh"]).args([
            self.archive,
            overlay.as_path(),
            jobs.as_path(),
        ]))?;
        let limit = if self.all { 900 } else { 600 };
        let began = Instant::now();
        let status = Command::new("timeout")
            .args(["-k", "5", &limit.to_string(), "qemu-system-x86_64", "-machine", "pc"])
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial"])
            .arg(format!("file:{}", log.display()))
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(&overlay)
            .args(["-append", &self.command_line()])
            .stdin(std::process::Stdio::null())
            .status()
            .context("failed to start QEMU")?;
        let console = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).replace('\r', "");
        let _ = fs::remove_file(&overlay);
        Ok(BootResult {
            console,
            took: began.elapsed(),
            timed_out: status.code() == Some(124),
            passes: self.passes().len(),
        })
    }

    /// The kernel's command line.
    fn command_line(&self) -> String {
        let mut words = "console=ttyS0 quiet loglevel=3 panic=-1 reboot=t nokaslr mitigations=off nopti \
                         random.trust_cpu=on tsc=reliable no_timer_check"
            .to_owned();
        match self.mode {
            Mode::Systemd => {
                words.push_str(" rdinit=/sbin/init systemd.show_status=0 systemd.mask=getty.target");
            }
            mode => {
                words.push_str(" cg=");
                words.push_str(mode.as_str());
            }
        }
        words
    }

    /// The arguments of each run of the harness.
    fn passes(&self) -> Vec<String> {
        if let Some(test) = self.test {
            return vec![format!("--test-threads=1 {test}")];
        }
        if self.mode == Mode::Systemd {
            return vec!["--test-threads=1 true_root".to_owned()];
        }
        let mut rest = "--test-threads=4 --skip machine_clock".to_owned();
        let skipped = EXCLUDED.iter().chain(if self.all { [].iter() } else { LONG.iter() });
        for (name, _) in skipped {
            rest.push_str(" --skip ");
            rest.push_str(name);
        }
        // Alone, because other tests fail while clocks jump.
        vec![rest, "--test-threads=1 machine_clock".to_owned()]
    }

    /// The script that runs the tests, and reports what the verifier checked.
    fn script(&self) -> String {
        let mut script = "export CGTRACE_TEST_MACHINE=1\nrc=0\n".to_owned();
        for arguments in self.passes() {
            script.push_str(&format!("/tests/promises --color=never {arguments} || rc=1\n"));
        }
        script.push_str("echo\necho \"@@STATUS $(/tests/cgtrace status --json)\"\nexit $rc\n");
        script
    }
}

/// The console line of a kernel that stopped at a breakpoint, if that ended it.
fn stopped_at_breakpoint(console: &str) -> Option<&str> {
    let line = console.lines().find(|line| line.contains("int3: 0000 [#"))?;
    let ended = console.contains("Kernel panic") && !console.contains("@@EXIT ");
    ended.then(|| line.trim())
}

#[cfg(test)]
mod tests {
    use super::stopped_at_breakpoint;

    #[test]
    fn a_stop_at_a_breakpoint_is_recognised() {
        let oops = "[    2.066956] Oops: int3: 0000 [#1] SMP NOPTI\n";
        let panic = "[    2.084110] Kernel panic - not syncing: Fatal exception in interrupt\n";
        assert!(stopped_at_breakpoint(&format!("{oops}{panic}")).is_some_and(|line| line.contains("Oops")));
        assert_eq!(stopped_at_breakpoint(panic), None);
        assert_eq!(stopped_at_breakpoint("@@EXIT 1\n"), None);
        assert_eq!(stopped_at_breakpoint(&format!("{oops}@@EXIT 0\n{panic}")), None);
    }
}
