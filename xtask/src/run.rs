//! `run`: the main job, on live events.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{
    build::build,
    command::{as_root, target},
};

/// Builds cgtrace and runs it as root; without arguments, `cgtrace events`.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    build(true)?;
    let program = target()?.join("release/cgtrace");
    let mut command = as_root(&program)?;
    if arguments.is_empty() {
        command.arg("events");
    } else {
        command.args(arguments);
    }
    let status = command.status().with_context(|| format!("failed to start `{}`", program.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
