//! `config check`: validates a configuration file.

use std::{io, os::unix::ffi::OsStrExt as _, path::Path};

use cgtrace_client::{paths, wire::ConfigChecked};

use super::{Outcome, arguments, failure::Failure, output::Output};
use crate::daemon::{
    config::{self, Config, FileError, Settings},
    server::{METRICS_DROP_IN, check_family},
};

pub fn run(config: &arguments::ConfigCommand, output: &mut Output) -> Result<Outcome, Failure> {
    let arguments::ConfigCommand::Check { file: given } = config;
    let file = given.as_deref().unwrap_or(Path::new(config::DEFAULT_PATH));
    let path = paths::escape(file.as_os_str().as_bytes());
    let (settings, state) = match config::read(file) {
        Ok(settings) => (settings, "valid"),
        // The daemon starts without it, too.
        Err(FileError::Read { source, .. })
            if given.is_none() && source.kind() == io::ErrorKind::NotFound =>
        {
            (Settings::default(), "does not exist; the daemon uses its defaults")
        }
        Err(error) => return Err(Failure::Usage(error.into())),
    };
    super::daemon::log_filter(settings.log.as_deref())
        .map_err(|error| Failure::Usage(error.context(format!("`{path}`: `log`"))))?;
    let metrics = settings.metrics_listen;
    // In the sandbox of the service (ExecReload=), it finds what the daemon would.
    if let Some(address) = metrics {
        check_family(address).map_err(|error| {
            Failure::Usage(anyhow::Error::new(error).context(format!("`{path}`: `metrics-listen`")))
        })?;
    }
    let needs_restart = config::compare(&Config::default(), Config::of([settings])).needs_restart;
    if output.json {
        let needs_restart = needs_restart.into_iter().map(str::to_owned).collect();
        output.document(&ConfigChecked { file: path, valid: true, needs_restart })?;
        return Ok(Outcome::Yes);
    }
    output.line(format!("{path}: {state}"))?;
    if !needs_restart.is_empty() {
        output.line(format!("needs a restart, not only a reload: {}", needs_restart.join(", ")))?;
    }
    if metrics.is_some() {
        output.line(format!(
            "`metrics-listen`: in cgtrace.service it needs the drop-in {METRICS_DROP_IN}; without it: address family \
             not supported"
        ))?;
    }
    Ok(Outcome::Yes)
}
