//! From C: programs that are compiled against the header and run with the library.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, skip, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("clients::c_asks_with_the_shared_library", shared),
        trial("clients::c_asks_with_the_static_library", linked),
        trial("clients::c_example", example),
    ]
}

pub fn workspace() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).context("no workspace")
}

/// Builds the library; says in which folder it is.
fn library() -> Result<PathBuf> {
    // The folder that this harness was built into.
    let folder = Path::new(env!("CARGO_BIN_EXE_cgtrace")).parent().context("no folder of programs")?;
    let target = folder.parent().context("no target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "-p", "cgtrace-client-c", "--target-dir"]).arg(target);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    ensure!(build.current_dir(workspace()?).status()?.success(), "libcgtrace does not build");
    Ok(folder.to_owned())
}

fn compile(source: &str, program: &Path, library: &[&OsStr]) -> Outcome {
    let header = workspace()?.join("cgtrace-client-c/include");
    let mut compiler = Command::new("cc");
    compiler.args([
        "-std=c11",
        "-D_POSIX_C_SOURCE=200809L",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-pthread",
    ]);
    compiler.arg("-I").arg(header).arg(workspace()?.join(source)).arg("-o").arg(program).args(library);
    match compiler.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(skip("there is no cc here")),
        Err(error) => Err(error.into()),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => bail!("cc: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn ask(program: &Path, library: Option<&Path>) -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "c")?;
    let mut command = Command::new(program);
    if let Some(library) = library {
        command.env("LD_LIBRARY_PATH", library);
    }
    let output = command.arg(daemon.socket()).arg(cgroup.path()).arg(cgroup.name()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: cgtrace_client::wire::PathResult = serde_json::from_slice(&output.stdout)?;
    ensure!(answer.hierarchies.iter().any(|row| row.present && row.current.is_some()), "{answer:?}");
    Ok(())
}

fn shared() -> Outcome {
    let library = library()?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("client");
    let place = ["-L".as_ref(), library.as_os_str(), "-lcgtrace".as_ref()];
    compile("tests/clients/programs/client.c", &program, &place)?;
    ask(&program, Some(&library))
}

fn linked() -> Outcome {
    let library = library()?.join("libcgtrace.a");
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("client");
    let place = [library.as_os_str(), "-ldl".as_ref(), "-lm".as_ref()];
    compile("tests/clients/programs/client.c", &program, &place)?;
    ask(&program, None)
}

fn example() -> Outcome {
    let library = library()?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("wait");
    let place = ["-L".as_ref(), library.as_os_str(), "-lcgtrace".as_ref()];
    compile("docs/protocol/examples/c/wait.c", &program, &place)?;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "c-example")?;
    let run = |name: &str, runtime_dir: &Path| {
        let mut command = Command::new(&program);
        command.env("LD_LIBRARY_PATH", &library).env_remove("CGTRACE_SOCKET");
        command.env("CGTRACE_RUNTIME_DIR", runtime_dir).arg(name).output()
    };
    let (both, public) = (daemon.runtime_dir(), daemon.public_only()?);
    for runtime_dir in [both.path(), public.path()] {
        let output = run(&cgroup.name(), runtime_dir)?;
        ensure!(output.status.code() == Some(0) && output.stdout.ends_with(b": present\n"), "{output:?}");
    }
    let output = run("/", Path::new("/nonexistent"))?;
    let message = String::from_utf8_lossy(&output.stderr);
    let named = ["/nonexistent/private/io.cgtrace", "/nonexistent/public/io.cgtrace", "sudo cgtrace daemon"];
    ensure!(output.status.code() == Some(3) && named.iter().all(|part| message.contains(part)), "{output:?}");
    let output = run("relative", both.path())?;
    ensure!(output.status.code() == Some(3) && !output.stderr.is_empty(), "{output:?}");
    Ok(())
}
