//! Finds the packages; tests that they are complete and reproducible.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::support::{Outcome, skip, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dist::the_checksums_are_right_and_of_every_file", checksums),
        trial("dist::the_same_sources_give_the_same_bytes", reproducible),
        trial("dist::the_program_needs_no_library", is_static),
        trial("dist::a_prebuilt_kernel_program_is_not_packed", prebuilt),
    ]
}

fn target() -> Result<&'static Path> {
    Path::new(env!("CARGO_BIN_EXE_cgtrace")).ancestors().nth(2).context("no target folder")
}

/// The folder of the packages.
pub fn folder() -> Result<PathBuf> {
    let folder = target()?.join("dist");
    if folder.join("SHA256SUMS").exists() {
        Ok(folder)
    } else {
        Err(skip("no packages; run `cargo xtask dist`"))
    }
}

/// The file of cgtrace itself with this extension.
pub fn file(extension: &str) -> Result<PathBuf> {
    find(&folder()?, "cgtrace", extension)
}

/// The file of a package. Its version follows its name.
pub fn package(name: &str, extension: &str) -> Result<PathBuf> {
    find(&folder()?, name, extension)
}

fn find(folder: &Path, name: &str, extension: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let rest = path.file_name().and_then(|file| file.to_str()).and_then(|file| file.strip_prefix(name));
        // `libcgtrace` is not `libcgtrace-devel`.
        let own = |rest: &str| {
            rest.strip_prefix(['-', '_'])
                .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        };
        if rest.is_some_and(|rest| rest.ends_with(extension) && own(rest)) {
            return Ok(path);
        }
    }
    bail!("{} has no {name} {extension}", folder.display())
}

/// Builds the packages again, with this revision.
pub fn pack(out: &Path, revision: &str) -> Outcome {
    run(&mut packing(out, revision)?).map(drop)
}

fn packing(out: &Path, revision: &str) -> Result<Command> {
    let folder = folder()?;
    let packer = target()?.join(format!("{ARCH}-unknown-linux-gnu/dist/cgtrace-dist"));
    // SOURCE_DATE_EPOCH of the packages is the time of every file in the archive.
    let archive = find(&folder, "cgtrace", "-linux.tar.gz")?;
    let listed = run(Command::new("tar").args(["--full-time", "--utc", "-tvf"]).arg(archive))?;
    let time: Vec<&str> = listed.lines().next().context("an empty archive")?.split_whitespace().collect();
    let epoch = run(Command::new("date").args(["-u", "+%s", "-d"]).arg(format!("{} {}", time[3], time[4])))?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let mut packing = Command::new(packer);
    packing
        .arg("--program")
        .arg(folder.join("cgtrace"))
        .arg("--libraries")
        .arg(target()?.join(format!("dist-libraries/{ARCH}-unknown-linux-gnu/dist")))
        .arg("--workspace")
        .arg(workspace)
        .arg("--out")
        .arg(out)
        .args(["--revision", revision])
        .env("SOURCE_DATE_EPOCH", epoch.trim());
    Ok(packing)
}

fn prebuilt() -> Outcome {
    let out = tempfile::tempdir()?;
    let output = packing(out.path(), "1")?.env("CGTRACE_BPF_OBJECT", "/nonexistent/object").output()?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && message.contains("unset it"), "{output:?}");
    ensure!(fs::read_dir(out.path())?.next().is_none(), "something was packed");
    Ok(())
}

/// The .deb of another revision.
pub fn deb_of(out: &Path, revision: &str) -> Result<PathBuf> {
    pack(out, revision)?;
    find(out, "cgtrace", ".deb")
}

/// The .rpm of another revision.
pub fn rpm_of(out: &Path, revision: &str) -> Result<PathBuf> {
    pack(out, revision)?;
    find(out, "cgtrace", ".rpm")
}

/// The standard output of a command. A missing program skips the test.
pub fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(skip(format!("{program} not found")))
        }
        Err(error) => Err(error.into()),
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => bail!(
            "{command:?}: {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

fn checksums() -> Outcome {
    let folder = folder()?;
    let checked = run(Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(&folder))?;
    let files = run(Command::new("find").args([".", "-type", "f"]).current_dir(&folder))?;
    ensure!(checked.lines().count() + 1 == files.lines().count(), "{checked}\n{files}");
    Ok(())
}

fn reproducible() -> Outcome {
    let again = tempfile::tempdir()?;
    pack(again.path(), "1")?;
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS"));
    let (first, second) = (sums(&folder()?)?, sums(again.path())?);
    ensure!(first == second, "{first}\n{second}");
    Ok(())
}

fn is_static() -> Outcome {
    let program = folder()?.join("cgtrace");
    let headers = run(Command::new("readelf").args(["-lW"]).arg(&program))?;
    ensure!(!headers.contains("INTERP"), "{headers}");
    let version = run(Command::new(&program).arg("--version"))?;
    ensure!(version.starts_with("cgtrace "), "{version}");
    Ok(())
}
