//! `config check`: whether the daemon would take a configuration file.

use cgtrace_client::names;

use super::{Verdict, arguments, failure::Failure, output::Output};
use crate::config::{self, Config, Settings};

pub fn run(config: &arguments::Config, output: &mut Output) -> Result<Verdict, Failure> {
    let arguments::Config::Check { file } = config;
    let settings = config::read(file).map_err(|error| Failure::Usage(error.into()))?;
    super::daemon::log_filter(settings.log.as_deref())
        .map_err(|error| Failure::Usage(error.context(format!("`{}`: `log`", file.display()))))?;
    let path = names::printable(std::os::unix::ffi::OsStrExt::as_bytes(file.as_os_str()));
    output.line(format!("{path}: valid"))?;
    // Whoever has just changed it is about to reload.
    let later = config::compare(&Config::from(Settings::default()), settings.into()).later;
    if !later.is_empty() {
        output.line(format!("not put in force by a reload, but by a restart: {}", later.join(", ")))?;
    }
    Ok(Verdict::Yes)
}
