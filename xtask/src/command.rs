//! Running other programs.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub fn workspace() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).context("xtask's folder has no parent")
}

/// Cargo's target folder.
pub fn target() -> Result<PathBuf> {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(folder.into()),
        None => Ok(workspace()?.join("target")),
    }
}

/// The cargo that runs this program, in the workspace.
pub fn cargo() -> Result<Command> {
    in_workspace(&PathBuf::from(env::var_os("CARGO").unwrap_or_else(|| "cargo".into())))
}

/// A command whose working directory is the workspace.
pub fn in_workspace(program: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(workspace()?);
    Ok(command)
}

/// Prints a command line and runs it. An exit status other than 0 is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    eprintln!("+ {}", words.join(" "));
    let status = command.status().with_context(|| format!("failed to start `{}`", words[0]))?;
    if !status.success() {
        bail!("`{}` failed: {status}", words.join(" "));
    }
    Ok(())
}

/// The trimmed standard output of a command, if it succeeds.
pub fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        // Otherwise, rustup installs a missing toolchain to answer a question about it.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env_remove("RUSTUP_TOOLCHAIN")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether this process runs as root.
pub fn is_root() -> bool {
    output("id", &["-u"]).as_deref() == Some("0")
}

/// The path of a program on PATH.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// A command that runs as root: directly if this process is root, otherwise through sudo.
pub fn as_root(program: &Path) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    if which("sudo").is_none() {
        bail!("root is required for eBPF, and sudo was not found; run this as root");
    }
    let mut command = Command::new("sudo");
    command.arg("-E").arg(program);
    Ok(command)
}
