//! Shared code of the tests that use the real kernel.

#![expect(dead_code, reason = "each harness uses a part of it")]

pub mod bpffs;
pub mod cadvisor;
pub mod captured;
pub mod cgroup;
pub mod clock;
pub mod confined;
pub mod daemon;
pub mod descriptors;
pub mod display;
pub mod events;
pub mod examples;
pub mod fake;
pub mod fuse;
pub mod inotify;
pub mod lab;
pub mod named;
pub mod overlay;
pub mod peer;
pub mod process;
pub mod raw;
pub mod session;
pub mod systemd;
pub mod terminal;
pub mod verify;

use std::fmt;

use libtest_mimic::{Completion, Failed, Trial};

/// A test's outcome.
pub type Outcome = anyhow::Result<()>;

/// The reason why a test cannot run here; it counts as skipped.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// How often a test repeats: a tenth in an emulated machine, which is about that much slower.
pub fn rounds(here: usize) -> usize {
    if std::env::var_os("CGTRACE_TEST_MACHINE").is_some() { here / 10 } else { here }
}

/// Skips a test.
pub fn skip(why: impl Into<String>) -> anyhow::Error {
    Skip(why.into()).into()
}

/// A test that uses the real kernel; skipped, with the reason, unless run as root.
pub fn trial(name: &'static str, run: fn() -> Outcome) -> Trial {
    Trial::ignorable_test(name, move || {
        let outcome =
            if rustix::process::geteuid().is_root() { run() } else { Err(skip("needs root, for eBPF")) };
        match outcome {
            Ok(()) => Ok(Completion::Completed),
            Err(error) => match error.downcast::<Skip>() {
                Ok(Skip(why)) => {
                    println!("skipped {name}: {why}");
                    Ok(Completion::ignored_with(why))
                }
                Err(error) => Err(Failed::from(format!("{error:#}"))),
            },
        }
    })
}
