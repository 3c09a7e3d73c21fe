//! `fuzz`: feeds whatever reads bytes from outside with bytes that nobody thought of.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{cargo, output, run, target, workspace},
    setup::setup,
};

/// What tells libFuzzer where the code goes. All of it is stable: no nightly and no cargo-fuzz is needed. Without
/// the address sanitizer, which is nightly's alone; what is fuzzed has no unsafe code of its own.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                     -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// The most bytes of an input; whatever a reader does with more, it does with these.
const INPUT_MAX: usize = 4096;

/// How the targets ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fuzzed {
    pub passed: u64,
    pub failed: u64,
}

/// Runs the targets (all, if none is named) for so long each. Beginning with the corpus in `fuzz/corpus`; what is
/// found anew is kept in `target/fuzz/corpus`.
pub fn fuzz(seconds: u32, names: &[String]) -> Result<Fuzzed> {
    setup()?;
    let folder = workspace()?.join("fuzz");
    let known = targets(&folder)?;
    for name in names {
        if !known.contains(name) {
            bail!("there is no fuzz target `{name}`; there are {}", known.join(", "));
        }
    }
    let names = if names.is_empty() { known } else { names.to_vec() };
    let version = output("rustc", &["-vV"]).context("failed to ask rustc for its version")?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
    let triple = triple.context("rustc does not say for which machine it builds")?;
    let built = target()?.join("fuzz");
    let mut command = cargo()?;
    command
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .args(["--target", triple, "--target-dir"])
        .arg(&built)
        .env("RUSTFLAGS", FLAGS);
    // Nothing that is fuzzed touches the kernel program: whichever was built last will do.
    if let Some(object) = kernel_program()? {
        command.env("CGTRACE_BPF_OBJECT", object);
    }
    run(&mut command)?;
    let mut fuzzed = Fuzzed::default();
    for name in &names {
        match run_target(&folder, &built, &built.join(triple).join("debug").join(name), name, seconds) {
            Ok(()) => {
                println!("fuzz {name} ... ok");
                fuzzed.passed += 1;
            }
            Err(error) => {
                println!("fuzz {name} ... FAILED");
                eprintln!("{error:#}");
                fuzzed.failed += 1;
            }
        }
    }
    println!(
        "fuzz: {} targets found nothing in {seconds} s each, {} found something",
        fuzzed.passed, fuzzed.failed
    );
    Ok(fuzzed)
}

/// The names of the targets, which are those of their files.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let files = folder.join("targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&files).with_context(|| format!("failed to read {}", files.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn run_target(folder: &Path, built: &Path, program: &Path, name: &str, seconds: u32) -> Result<()> {
    let (found, findings) = (built.join("corpus").join(name), built.join("findings").join(name));
    fs::create_dir_all(&found)?;
    fs::create_dir_all(&findings)?;
    let kept = folder.join("corpus").join(name);
    let mut command = Command::new(program);
    command
        // What is new goes into the first.
        .arg(&found)
        .args(kept.is_dir().then_some(&kept))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_MAX}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=0"]);
    run(&mut command).with_context(|| {
        format!(
            "the input is in {}; run it alone: {} FILE; mend what it shows, and add it to {}",
            findings.display(),
            program.display(),
            kept.display()
        )
    })
}

/// A kernel program that an earlier build of cgtrace has left.
fn kernel_program() -> Result<Option<PathBuf>> {
    let build = target()?.join("debug/build");
    let Ok(entries) = fs::read_dir(&build) else { return Ok(None) };
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
    Ok(newest.map(|(_, object)| object))
}
