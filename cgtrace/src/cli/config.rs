//! `config check`: validates a configuration file.

use std::{io, os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::anyhow;
use cgtrace_client::{paths, wire::ConfigChecked};

use super::{Outcome, arguments, failure::Failure, output::Output};
use crate::daemon::config::{self, Config, FileError};

pub fn run(config: &arguments::ConfigCommand, output: &mut Output) -> Result<Outcome, Failure> {
    let arguments::ConfigCommand::Check { file } = config;
    let settings = config::read(file).map_err(|error| Failure::Usage(read_error(file, error)))?;
    super::daemon::log_filter(settings.log.as_deref())
        .map_err(|error| Failure::Usage(error.context(format!("`{}`: `log`", file.display()))))?;
    let path = paths::escape(file.as_os_str().as_bytes());
    let needs_restart = config::compare(&Config::default(), Config::of([settings])).needs_restart;
    if output.json {
        let needs_restart = needs_restart.into_iter().map(str::to_owned).collect();
        output.document(&ConfigChecked { file: path, valid: true, needs_restart })?;
        return Ok(Outcome::Yes);
    }
    output.line(format!("{path}: valid"))?;
    if !needs_restart.is_empty() {
        output.line(format!("needs a restart, not only a reload: {}", needs_restart.join(", ")))?;
    }
    Ok(Outcome::Yes)
}

fn read_error(file: &Path, error: FileError) -> anyhow::Error {
    let missing =
        matches!(&error, FileError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound);
    if missing && file == Path::new(config::DEFAULT_PATH) {
        return anyhow!("{error}; without it the daemon uses its defaults (see cgtrace daemon --help)");
    }
    error.into()
}
