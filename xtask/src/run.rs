//! `run`.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{
    build::{Profile, build},
    command::{as_root, target},
};

/// Builds cgtrace and runs it as root; without arguments, runs `cgtrace events`.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    build(Profile::Quick)?;
    let program = target()?.join("quick/cgtrace");
    let mut command = as_root(&program)?;
    if arguments.is_empty() {
        command.arg("events");
    } else {
        command.args(arguments);
    }
    let status = command.status().with_context(|| format!("failed to start `{}`", program.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
