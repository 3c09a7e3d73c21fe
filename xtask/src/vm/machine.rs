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
}

/// What a boot came to.
pub struct Ran {
    pub console: String,
    pub took: Duration,
    pub timed_out: bool,
}

/// Tests that ask for more than an emulated machine gives in minutes: they measure a rate, or count to hundreds of
/// thousands. What they promise does not depend on the kernel's version.
const TOO_MUCH: [&str; 8] = [
    "linear::no_answer",
    "hostile::",
    "start::t14_churn",
    "start::many_cgroups",
    "agreement::stat_agrees",
    "lifecycle::three_thousand_rounds",
    "waiting::10000",
    "metrics::",
];

/// The longest of those that are left, which a submission's short part leaves to the whole matrix.
const LONG: [&str; 9] = [
    "traps::t8",
    "traps::t16",
    "witnesses::",
    "messages::",
    "names::",
    "faults::",
    "protocol::",
    "config",
    "why",
];

impl Machine<'_> {
    /// Boots, runs the tests, and gives what came over the console.
    pub fn run(&self) -> Result<Ran> {
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
        let limit = if self.all { 1_200 } else { 300 };
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
        Ok(Ran { console, took: began.elapsed(), timed_out: status.code() == Some(124) })
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

    /// The tests to run, and what the verifier followed.
    fn script(&self) -> String {
        let mut tests = "/tests/promises --test-threads=2".to_owned();
        if self.mode == Mode::Systemd {
            tests.push_str(" true_root");
        } else {
            let skipped = TOO_MUCH.iter().chain(if self.all { [].iter() } else { LONG.iter() });
            for name in skipped {
                tests.push_str(" --skip ");
                tests.push_str(name);
            }
        }
        format!(
            "export CGTRACE_TEST_MACHINE=1\n{tests}\nrc=$?\necho\necho \"@@STATUS $(/tests/cgtrace status --json)\"\n\
             exit $rc\n"
        )
    }
}
