//! `test`: runs every test, and prints the total in one line at the end.

use std::{
    io::{BufRead, BufReader},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result};

use crate::{
    command::{cargo, is_root, which},
    dist::dist,
    lab::lab,
    setup::setup,
};

/// The counts in the last line of a harness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

/// The harnesses in `cgtrace/tests`: they need neither root nor a particular kernel.
const PURE: [&str; 10] = [
    "btf",
    "deploy",
    "exec_context",
    "index",
    "index_model",
    "offline",
    "records",
    "scan_thread",
    "schema",
    "words",
];

/// All harnesses of the crates whose tests need no root.
const OTHER_CRATES: [&str; 14] = [
    "-p",
    "cgtrace-client",
    "-p",
    "cgtrace-client-c",
    "-p",
    "cgtrace-history",
    "-p",
    "cgtrace-host",
    "-p",
    "cgtrace-paths",
    "-p",
    "cgtrace-why",
    "--test",
    "*",
];

/// Sets up, builds, and runs every test. Those against the kernel need root.
pub fn test(filter: Option<&str>) -> Result<ExitCode> {
    setup()?;
    lab()?;
    let mut total = Count::default();
    let mut all_ended = true;
    // The tests of `dist` run against its packages. Other selected tests do not need them.
    if filter.is_none_or(|filter| filter.contains("dist"))
        && let Err(error) = dist()
    {
        eprintln!("error: {error:#}");
        all_ended = false;
    }
    let pure: Vec<&str> =
        ["-p", "cgtrace"].into_iter().chain(PURE.iter().flat_map(|name| ["--test", name])).collect();
    let mut harnesses = vec![
        (vec!["--lib", "--bins", "--examples"], &[][..]),
        (vec!["--doc"], &[][..]),
        (OTHER_CRATES.to_vec(), &[][..]),
        (pure, &[][..]),
        (vec!["-p", "cgtrace", "--test", "promises"], &[][..]),
        // One at a time: each takes the daemon to its limits.
        (vec!["-p", "cgtrace", "--test", "hostile"], &["--test-threads=1"][..]),
        (vec!["-p", "cgtrace", "--test", "lab"], &[][..]),
        (vec!["-p", "cgtrace", "--test", "clients"], &[][..]),
        (vec!["-p", "cgtrace", "--test", "dist"], &[][..]),
        // One at a time: these need the machine to themselves.
        (vec!["-p", "cgtrace", "--test", "alone"], &["--test-threads=1"][..]),
    ];
    if !is_root() && which("sudo").is_some() {
        eprintln!("the tests against the kernel run through sudo");
    }
    for (targets, arguments) in harnesses.drain(..) {
        let mut command = cargo()?;
        command.arg("test").args(&targets);
        if !is_root() && which("sudo").is_some() && targets.contains(&"--test") {
            command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", "sudo -E");
        }
        command.arg("--no-fail-fast").arg("--").args(filter).args(arguments);
        let (count, ended) = counted(&mut command)?;
        total.passed += count.passed;
        total.failed += count.failed;
        total.skipped += count.skipped;
        all_ended &= ended || count.failed > 0;
    }
    if !all_ended {
        eprintln!("a harness failed without a failed test; see above");
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(if total.failed == 0 && all_ended { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs harnesses, forwards their output, and adds up their counts.
fn counted(command: &mut Command) -> Result<(Count, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("failed to start cargo test")?;
    let mut count = Count::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            println!("{line}");
            if let Some(more) = closing(&line) {
                count.passed += more.passed;
                count.failed += more.failed;
                count.skipped += more.skipped;
            }
        }
    }
    Ok((count, child.wait()?.success()))
}

/// Parses `test result: ok. 9 passed; 0 failed; 1 ignored; …`.
pub fn closing(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let of = |word: &str| {
        counts.split(';').find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok()).unwrap_or(0)
    };
    Some(Count { passed: of("passed"), failed: of("failed"), skipped: of("ignored") })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The harnesses in a `tests` folder: files, and folders with a `main.rs`.
    fn harnesses(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
        let harness = entries.filter(|path| path.is_file() || path.join("main.rs").exists());
        harness.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn no_harness_is_left_out() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut pure = harnesses(&root.join("cgtrace/tests"));
        pure.sort();
        assert_eq!(pure, PURE);
        for entry in fs::read_dir(root).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_named = name == "cgtrace" || OTHER_CRATES.contains(&&*name);
            assert!(is_named || harnesses(&entry.path().join("tests")).is_empty(), "{name}");
        }
    }

    #[test]
    fn closing_lines_are_counted() {
        let line = "test result: FAILED. 9 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.04s";
        assert_eq!(closing(line), Some(Count { passed: 9, failed: 2, skipped: 1 }));
        assert_eq!(closing("test names::x ... ok"), None);
    }
}
