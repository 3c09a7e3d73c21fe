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

/// What to boot, and what to run in it.
pub struct Machine<'a> {
    pub kernel: &'a Path,
    pub archive: &'a Path,
    pub mode: Mode,
    pub all: bool,
    /// Only tests whose names contain this.
    pub test: Option<&'a str>,
}

/// What a boot came to.
pub struct Ran {
    pub console: String,
    pub took: Duration,
    pub timed_out: bool,
    /// How many runs of the harness it was to make.
    pub passes: usize,
}

/// Tests that are left out, and why: an emulated machine is some ten times slower.
pub const TOO_MUCH: [(&str, &str); 15] = [
    ("hostile::", "what strangers send has nothing to do with the kernel's version"),
    ("linear::", "a hundred thousand answers beside a hundred thousand changes"),
    ("start::t14_churn", "some ten starts, each beside all the changes that a processor can make"),
    ("start::many_cgroups", "some ten thousand cgroups"),
    ("agreement::stat_agrees", "churn on every processor while it is asked"),
    ("lifecycle::three_thousand", "three thousand rounds"),
    ("waiting::10000", "ten thousand waiters"),
    ("metrics::", "what a scraper is told has nothing to do with the kernel's version"),
    ("messages::", "nor have the texts of messages and exit codes"),
    ("configuration::", "nor has what a file of configuration says"),
    ("schema::", "nor has the form of what is printed"),
    (
        "why::out_of_inotify",
        "descriptors are counted for a bounded time, which is too short for this processor",
    ),
    ("protocol::every", "nor have the examples of a document"),
    ("protocol::what_no", "nor have the examples of a document"),
    ("supervised::", "nor has what a service manager is told"),
];

/// The longest of those that are left, which a submission's short part leaves to the whole matrix.
pub const LONG: [(&str, &str); 11] = [
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

/// So often a machine is booted whose kernel stops at a breakpoint of its own.
const BOOTS: u32 = 3;

/// Begins the console's line for each boot that ended so.
pub const DIED: &str = "@@DIED ";

impl Machine<'_> {
    /// Boots, runs the tests, and gives what came over the console.
    ///
    /// The kernel patches its own code by way of breakpoints. QEMU's emulated processors, a thread each, now and then run
    /// one that has been taken away already, and the kernel stops with `int3`: seen two seconds after its start, before
    /// anything of cgtrace's was there. Such a machine is booted again, and its row says so.
    pub fn run(&self) -> Result<Ran> {
        let mut removed_at = String::new();
        let mut boot = 1;
        loop {
            let ran = self.boot()?;
            match stopped_at_breakpoint(&ran.console).filter(|_| boot < BOOTS) {
                Some(line) => {
                    let log = lab::folder()?.join(format!("vm-removed_at-{boot}.log"));
                    fs::write(&log, &ran.console)
                        .with_context(|| format!("failed to write {}", log.display()))?;
                    eprintln!("vm: boot {boot} ended with `{line}`, console in {}; again", log.display());
                    removed_at.push_str(&format!("{DIED}{line}\n"));
                    boot += 1;
                }
                None => return Ok(Ran { console: removed_at + &ran.console, ..ran }),
            }
        }
    }

    fn boot(&self) -> Result<Ran> {
        let folder = lab::folder()?.join("vm");
        let (jobs, log) = (folder.join("jobs"), folder.join("console"));
        let overlay = folder.join("jobs.cpio");
        let _ = fs::remove_dir_all(&jobs);
        fs::create_dir_all(&jobs)?;
        fs::write(jobs.join("run-tests"), self.script())?;
        let _ = fs::remove_file(&log);
        // The kernel takes archives one after the other, so that what differs is a small one behind a large one.
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
            .args(["-append", &self.words()])
            .stdin(std::process::Stdio::null())
            .status()
            .context("failed to start QEMU")?;
        let console = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).replace('\r', "");
        let _ = fs::remove_file(&overlay);
        Ok(Ran {
            console,
            took: began.elapsed(),
            timed_out: status.code() == Some(124),
            passes: self.passes().len(),
        })
    }

    /// The kernel's command line.
    fn words(&self) -> String {
        let mut words = "console=ttyS0 quiet loglevel=3 panic=-1 reboot=t nokaslr mitigations=off nopti \
                         random.trust_cpu=on tsc=reliable no_timer_check"
            .to_owned();
        match self.mode {
            Mode::Systemd => {
                words.push_str(" rdinit=/sbin/init systemd.show_status=0 systemd.mask=getty.target");
            }
            mode => {
                words.push_str(" cg=");
                words.push_str(mode.word());
            }
        }
        words
    }

    /// What the harness is run with, one run after the other.
    fn passes(&self) -> Vec<String> {
        if let Some(test) = self.test {
            return vec![format!("--test-threads=1 {test}")];
        }
        if self.mode == Mode::Systemd {
            return vec!["--test-threads=1 true_root".to_owned()];
        }
        let mut rest = "--test-threads=4 --skip machine_clock".to_owned();
        let left = TOO_MUCH.iter().chain(if self.all { [].iter() } else { LONG.iter() });
        for (name, _) in left {
            rest.push_str(" --skip ");
            rest.push_str(name);
        }
        // Nothing else can be told while the clocks jump.
        vec![rest, "--test-threads=1 machine_clock".to_owned()]
    }

    /// The tests to run, and what the verifier followed.
    fn script(&self) -> String {
        let mut script = "export CGTRACE_TEST_MACHINE=1\nrc=0\n".to_owned();
        for arguments in self.passes() {
            script.push_str(&format!("/tests/promises --color=never {arguments} || rc=1\n"));
        }
        script.push_str("echo\necho \"@@STATUS $(/tests/cgtrace status --json)\"\nexit $rc\n");
        script
    }
}

/// The line by which a kernel says that it ended at a breakpoint, if that ended it.
fn stopped_at_breakpoint(console: &str) -> Option<&str> {
    let line = console.lines().find(|line| line.contains("int3: 0000 [#"))?;
    let ended = console.contains("Kernel panic") && !console.contains("@@EXIT ");
    ended.then(|| line.trim())
}

#[cfg(test)]
mod tests {
    use super::stopped_at_breakpoint;

    #[test]
    fn a_stop_at_a_breakpoint_is_told_from_other_ends() {
        let oops = "[    2.066956] Oops: int3: 0000 [#1] SMP NOPTI\n";
        let panic = "[    2.084110] Kernel panic - not syncing: Fatal exception in interrupt\n";
        assert!(stopped_at_breakpoint(&format!("{oops}{panic}")).is_some_and(|line| line.contains("Oops")));
        assert_eq!(stopped_at_breakpoint(panic), None);
        assert_eq!(stopped_at_breakpoint("@@EXIT 1\n"), None);
        assert_eq!(stopped_at_breakpoint(&format!("{oops}@@EXIT 0\n{panic}")), None);
    }
}
