//! `fuzz`: feeds whatever reads bytes from outside with bytes that nobody thought of.

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

/// The most bytes of an input; whatever a reader does with more, it does with these.
const INPUT_MAX: usize = 4096;

/// For how long one input may be read: far more than any needs, also on a machine that does much else.
const INPUT_SECONDS: u32 = 60;

/// What a run of a target came to.
struct Ran {
    /// How many inputs were tried.
    inputs: u64,
    /// How much of the code the corpus reached at first, and all inputs in the end.
    covered: (u64, u64),
}

/// Runs the targets (all, if none is named) for so long each. They begin with the corpus in `fuzz/corpus`; what is
/// found anew is kept in `target/fuzz/corpus`.
pub fn fuzz(seconds: u32, names: &[String]) -> Result<ExitCode> {
    let folder = workspace()?.join("fuzz");
    let known = targets(&folder)?;
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no fuzz target `{name}`; there are {}", known.join(", "));
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
                Ok(Ran { inputs, covered: (first, last) }) => {
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

/// The names of the targets, which are those of their files.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let files = folder.join("targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&files).with_context(|| format!("failed to read {}", files.display()))? {
        names.extend(entry?.path().file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Brings a C++ compiler where there is none: libFuzzer is C++.
fn compiler() -> Result<()> {
    if env::var_os("CXX").is_some() || which("c++").is_some() {
        return Ok(());
    }
    let apt =
        which("apt-get").context("there is no C++ compiler; install one as `c++`, or name it in CXX")?;
    run(as_root(&apt)?.args(["update", "-qq"]))?;
    run(as_root(&apt)?.args(["install", "-y", "-qq", "--no-install-recommends", "g++"]))
        .context("there is no C++ compiler; install one by hand: apt-get install g++")
}

fn build(folder: &Path) -> Result<()> {
    let mut command = cargo()?;
    command
        .args(["build", "--quiet", "--locked", "--package", "cgtrace-fuzz"])
        .env("RUSTC_WORKSPACE_WRAPPER", folder.join("instrumented"));
    if env::var_os("CGTRACE_BPF_OBJECT").is_none() {
        // Nothing that is fuzzed touches the kernel program: whichever was built last will do.
        match kernel_program()? {
            Some(object) => drop(command.env("CGTRACE_BPF_OBJECT", object)),
            None => setup()?,
        }
    }
    run(&mut command)
}

/// A copy of the kernel program that the last build of cgtrace has left. A copy, since the build with it leaves one
/// in the same place.
fn kernel_program() -> Result<Option<PathBuf>> {
    let Ok(entries) = fs::read_dir(target()?.join("debug/build")) else { return Ok(None) };
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in entries {
        let entry = entry?;
        let object = entry.path().join("out/cgtrace");
        if entry.file_name().to_string_lossy().starts_with("cgtrace-")
            && let Ok(made) = object.metadata().and_then(|object| object.modified())
            && newest.as_ref().is_none_or(|(time, _)| *time < made)
        {
            newest = Some((made, object));
        }
    }
    let Some((_, object)) = newest else { return Ok(None) };
    let copy = target()?.join("fuzz/kernel-program");
    let bytes = fs::read(&object).with_context(|| format!("failed to read {}", object.display()))?;
    // One that is as it was is left alone, or cgtrace would be built again.
    if fs::read(&copy).ok().as_ref() != Some(&bytes) {
        fs::create_dir_all(target()?.join("fuzz"))?;
        fs::write(&copy, bytes).with_context(|| format!("failed to write {}", copy.display()))?;
    }
    Ok(Some(copy))
}

/// Runs one target. What it says goes into `target/fuzz/NAME.log`.
fn run_target(folder: &Path, name: &str, seconds: u32) -> Result<Ran> {
    let program = target()?.join("debug").join(name);
    let kept = folder.join("corpus").join(name);
    let made = target()?.join("fuzz");
    let (found, findings) = (made.join("corpus").join(name), made.join("findings").join(name));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&findings)?;
    let log = made.join(format!("{name}.log"));
    let status = Command::new(&program)
        // What is new goes into the first.
        .args([&found, &kept])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-rss_limit_mb=1024", "-print_final_stats=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).with_context(|| format!("failed to make {}", log.display()))?)
        .status()
        .with_context(|| format!("failed to start {}", program.display()))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        bail!(
            "{status}; the input is in {}; `{} FILE` reads it alone. Mend what it shows, and add it to {}",
            findings.display(),
            program.display(),
            kept.display()
        );
    }
    let ran = ran(&text).with_context(|| format!("{} does not tell what was tried", log.display()))?;
    ensure!(
        ran.covered.0 > 0 && ran.inputs > 0,
        "nothing is counted, so that nothing guides the fuzzer: see {}",
        log.display()
    );
    Ok(ran)
}

/// Reads libFuzzer's own words.
fn ran(log: &str) -> Option<Ran> {
    let after =
        |line: &str, word: &str| line.split_once(word)?.1.split_ascii_whitespace().next()?.parse().ok();
    let covered =
        |word: &str| log.lines().rfind(|line| line.contains(word)).and_then(|line| after(line, "cov: "));
    let inputs = log.lines().find_map(|line| after(line, "stat::number_of_executed_units:"))?;
    Some(Ran { inputs, covered: (covered("\tINITED")?, covered("\tDONE")?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_read() {
        let log = "#2\tINITED cov: 12 ft: 14 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #900\tNEW    cov: 40 ft: 70 corp: 9/99b\n#1000\tDONE   cov: 41 ft: 71 corp: 10/100b\n\
                   Done 1000 runs in 6 second(s)\nstat::number_of_executed_units: 1000\n";
        let Ran { inputs, covered } = ran(log).unwrap();
        assert_eq!((inputs, covered), (1000, (12, 41)));
        assert!(ran("INFO: no corpus\n").is_none());
        // Without instrumentation libFuzzer tells no coverage.
        assert!(ran("#2\tINITED exec/s: 0 rss: 30Mb\nstat::number_of_executed_units: 9\n").is_none());
    }
}
