//! `fuzz`: fuzzes everything that parses untrusted input.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    command::{as_root, cargo, run, target, which, workspace},
    setup::setup,
    test::Count,
};

/// The maximum length of an input. Longer ones reach no other code.
const INPUT_MAX: usize = 4096;

/// The timeout for one input: far more than any needs, even on a loaded machine.
const INPUT_SECONDS: u32 = 60;

/// The result of a run of a target.
struct Report {
    /// The number of inputs.
    inputs: u64,
    /// Covered edges: by the corpus, and by all inputs.
    covered: (u64, u64),
}

/// Runs each target for this many seconds; all targets, if `names` is empty. They start from the corpus in
/// `fuzz/corpus`. New inputs are stored in `target/fuzz/corpus`.
pub fn fuzz(seconds: u32, names: &[String]) -> Result<ExitCode> {
    let folder = workspace()?.join("fuzz");
    let known = targets(&folder)?;
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        bail!("unknown fuzz target `{name}`; targets: {}", known.join(", "));
    }
    let names = if names.is_empty() { known } else { names.to_vec() };
    let mut count = Count::default();
    if let Err(error) = compiler() {
        for name in &names {
            println!("fuzz {name} ... skipped: {error:#}");
            count.skipped += 1;
        }
    } else {
        build(&folder)?;
        for name in &names {
            match run_target(&folder, name, seconds) {
                Ok(Report { inputs, covered: (first, last) }) => {
                    println!(
                        "fuzz {name} ... ok: {inputs} inputs in {seconds} s, coverage {first} -> {last}"
                    );
                    count.passed += 1;
                }
                Err(error) => {
                    println!("fuzz {name} ... FAILED: {error:#}");
                    count.failed += 1;
                }
            }
        }
    }
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    Ok(if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The names of the targets, which are the names of their files.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let files = folder.join("targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&files).with_context(|| format!("failed to read {}", files.display()))? {
        names.extend(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Installs a C++ compiler if there is none: libFuzzer is C++.
fn compiler() -> Result<()> {
    if env::var_os("CXX").is_some() || which("c++").is_some() {
        return Ok(());
    }
    let apt = which("apt-get").context("no C++ compiler found; install `c++`, or set CXX")?;
    run(as_root(&apt)?.args(["update", "-qq"]))?;
    run(as_root(&apt)?.args(["install", "-y", "-qq", "--no-install-recommends", "g++"]))
        .context("failed to install a C++ compiler; install one yourself: apt-get install g++")
}

fn build(folder: &Path) -> Result<()> {
    let mut command = cargo()?;
    command
        .args(["build", "--quiet", "--locked", "--package", "cgtrace-fuzz"])
        .env("RUSTC_WORKSPACE_WRAPPER", folder.join("instrumented"));
    if env::var_os("CGTRACE_BPF_OBJECT").is_none() {
        // No target uses the kernel program: any build of it will do.
        match kernel_program()? {
            Some(object) => drop(command.env("CGTRACE_BPF_OBJECT", object)),
            None => setup()?,
        }
    }
    run(&mut command)
}

/// Copies the kernel program of the last build of cgtrace. A copy, because a build with it overwrites the
/// original.
fn kernel_program() -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(target()?.join("debug/build")) else { return Ok(None) };
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in entries {
        let entry = entry?;
        let object = entry.path().join("out/cgtrace");
        if entry.file_name().to_string_lossy().starts_with("cgtrace-")
            && let Ok(modified) = object.metadata().and_then(|object| object.modified())
            && newest.as_ref().is_none_or(|(time, _)| *time < modified)
        {
            newest = Some((modified, object));
        }
    }
    let Some((_, object)) = newest else { return Ok(None) };
    let copy = target()?.join("fuzz/kernel-program");
    let bytes = fs::read(&object).with_context(|| format!("failed to read {}", object.display()))?;
    // Writing the same bytes again would rebuild cgtrace.
    if fs::read(&copy).ok().as_ref() != Some(&bytes) {
        fs::create_dir_all(target()?.join("fuzz"))?;
        fs::write(&copy, bytes).with_context(|| format!("failed to write {}", copy.display()))?;
    }
    Ok(Some(copy))
}

/// Runs one target. Its log is `target/fuzz/NAME.log`.
fn run_target(folder: &Path, name: &str, seconds: u32) -> Result<Report> {
    let program = target()?.join("debug").join(name);
    let corpus = folder.join("corpus").join(name);
    let results = target()?.join("fuzz");
    let (new_corpus, findings) = (results.join("corpus").join(name), results.join("findings").join(name));
    fs::create_dir_all(&new_corpus)?;
    fs::create_dir_all(&findings)?;
    let log = results.join(format!("{name}.log"));
    let status = Command::new(&program)
        // libFuzzer stores new inputs in the first.
        .args([&new_corpus, &corpus])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-rss_limit_mb=1024", "-print_final_stats=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).with_context(|| format!("failed to create {}", log.display()))?)
        .status()
        .with_context(|| format!("failed to start {}", program.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        bail!(
            "{status}; the input is in {}; `{} FILE` runs it alone. Fix the bug, and add the input to {}",
            findings.display(),
            program.display(),
            corpus.display()
        );
    }
    let report = parse_log(&text).with_context(|| format!("{} has no statistics", log.display()))?;
    ensure!(
        report.covered.0 > 0 && report.inputs > 0,
        "no coverage was measured, so the fuzzer ran blindly; see {}",
        log.display()
    );
    Ok(report)
}

/// Parses libFuzzer's log.
fn parse_log(log: &str) -> Option<Report> {
    let after =
        |line: &str, word: &str| line.split_once(word)?.1.split_ascii_whitespace().next()?.parse().ok();
    let covered =
        |word: &str| log.lines().rfind(|line| line.contains(word)).and_then(|line| after(line, "cov: "));
    let inputs = log.lines().find_map(|line| after(line, "stat::number_of_executed_units:"))?;
    Some(Report { inputs, covered: (covered("\tINITED")?, covered("\tDONE")?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_parsed() {
        let log = "#2\tINITED cov: 12 ft: 14 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #900\tNEW    cov: 40 ft: 70 corp: 9/99b\n#1000\tDONE   cov: 41 ft: 71 corp: 10/100b\n\
                   Done 1000 runs in 6 second(s)\nstat::number_of_executed_units: 1000\n";
        let Report { inputs, covered } = parse_log(log).unwrap();
        assert_eq!((inputs, covered), (1000, (12, 41)));
        assert!(parse_log("INFO: no corpus\n").is_none());
        // Without instrumentation, libFuzzer reports no coverage.
        assert!(parse_log("#2\tINITED exec/s: 0 rss: 30Mb\nstat::number_of_executed_units: 9\n").is_none());
    }
}
