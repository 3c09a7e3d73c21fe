//! `daemon`: runs the daemon in the foreground.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, reload};

use super::{Outcome, arguments, failure::Failure, journal::LogFormat, output::is_colored};
use crate::daemon::{
    config::{self, Config, Reload, Settings},
    server::{DaemonOptions, Reloaded, run_daemon},
};

/// The sources of the configuration: a file, overridden by the command line.
struct Source {
    file: PathBuf,
    /// The file was given explicitly and must exist.
    explicit: bool,
    flags: Settings,
}

impl Source {
    fn read(&self) -> Result<Config, anyhow::Error> {
        let file =
            if self.explicit || self.file.exists() { config::read(&self.file)? } else { Settings::default() };
        log_filter(file.log.as_deref()).with_context(|| format!("`{}`: `log`", self.file.display()))?;
        Ok(Config::of([file, self.flags.clone()]))
    }
}

pub fn run(daemon: arguments::Daemon, runtime_dir: Option<PathBuf>) -> Result<Outcome, Failure> {
    let arguments::Daemon { config: file, settings } = daemon;
    settings.check().map_err(|wrong| Failure::Usage(anyhow!(wrong.as_flag())))?;
    let source = Source {
        explicit: file.is_some(),
        file: file.unwrap_or_else(|| PathBuf::from(config::DEFAULT_PATH)),
        flags: Settings {
            runtime_dir,
            // An empty CGTRACE_LOG counts as unset.
            log: settings.log.clone().filter(|log| !log.is_empty()),
            ..settings
        },
    };
    let config = source.read().map_err(Failure::Usage)?;
    let filter = log_filter(Some(&config.log))
        .map_err(|error| Failure::Usage(error.context("CGTRACE_LOG or --log")))?;
    let subscriber = tracing_subscriber::fmt()
        // They would go to stderr, whose failure caused them; on a full disk that ends the daemon.
        .log_internal_errors(false)
        .with_ansi(is_colored(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .event_format(LogFormat::of_stderr())
        .with_env_filter(filter)
        .with_filter_reloading();
    let filter = subscriber.reload_handle();
    subscriber.init();
    run_daemon(DaemonOptions {
        runtime_dir: config.runtime_dir.clone(),
        probe: config.probe.clone(),
        history: config.history.clone(),
        limits: config.limits,
        metrics_listen: config.metrics_listen,
        reload: reloading(source, config, filter),
    })
    .map_err(Failure::NoAnswer)?;
    Ok(Outcome::Yes)
}

/// The handler of SIGHUP: rereads the file and logs the result.
fn reloading<S: 'static>(
    source: Source,
    mut now: Config,
    filter: reload::Handle<EnvFilter, S>,
) -> Box<dyn FnMut() -> Option<Reloaded>> {
    Box::new(move || {
        let next = source.read().and_then(|next| {
            let directives = log_filter(Some(&next.log)).context("`log`")?;
            Ok((next, directives))
        });
        let (next, directives) = match next {
            Ok(next) => next,
            Err(error) => {
                tracing::error!("configuration not reloaded, still using the previous one: {error:#}");
                return None;
            }
        };
        let Reload { config, changed, needs_restart } = config::compare(&now, next);
        for key in &needs_restart {
            tracing::warn!("`{key}` changed in the configuration and needs a restart");
        }
        if config.log != now.log {
            // Fails only if the subscriber is gone.
            let _ = filter.reload(directives);
        }
        tracing::info!(changed = changed.join(" "), "configuration reloaded");
        now = config;
        Some(Reloaded {
            limits: now.limits,
            metrics_listen: now.metrics_listen,
            tracked: now.probe.tracked.clone(),
        })
    })
}

/// Parses a log filter.
pub fn log_filter(directives: Option<&str>) -> Result<EnvFilter, anyhow::Error> {
    let text = directives.unwrap_or_default();
    // EnvFilter takes any word that is not a level for a module, so that a misspelt level would log nothing.
    let all: Vec<&str> = text.split(',').map(str::trim).filter(|directive| !directive.is_empty()).collect();
    let parsed = match all.iter().find(|directive| !is_known(directive)) {
        Some(directive) => {
            Err(anyhow!("`{}` is neither a level nor a module of cgtrace", directive.escape_debug()))
        }
        None => EnvFilter::builder()
            .with_default_directive(tracing::Level::INFO.into())
            .parse(all.join(","))
            .map_err(anyhow::Error::from),
    };
    parsed.with_context(|| {
        format!(
            "invalid log filter `{}`; expected error, warn, info, debug, trace or off, or levels by module, like \
             info,cgtrace::daemon::probe=debug",
            text.escape_debug()
        )
    })
}

/// Whether a directive of a log filter is a level, or concerns a module of this program.
fn is_known(directive: &str) -> bool {
    let target = directive.split(['=', '[']).next().unwrap_or_default();
    let is_level = target == directive && directive.parse::<LevelFilter>().is_ok();
    // A directive of spans has no target.
    let is_span = target.is_empty() && directive.starts_with('[');
    let krate = target.split("::").next().unwrap_or_default();
    is_level || is_span || krate == "cgtrace" || krate.starts_with("cgtrace_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_filter_has_levels_and_modules_of_cgtrace() {
        for valid in [
            "",
            "debug",
            "INFO",
            "off",
            "info,cgtrace::daemon::probe=trace",
            "warn, cgtrace_host=debug",
            "cgtrace",
        ] {
            assert!(log_filter(Some(valid)).is_ok(), "{valid}");
        }
        for (text, word) in [
            ("nope", "nope"),
            ("info,debgu", "debgu"),
            ("tokio=debug", "tokio=debug"),
            ("cgtrace=loud", "loud"),
        ] {
            let error = format!("{:#}", log_filter(Some(text)).unwrap_err());
            assert!(error.contains(word) && error.contains("expected error, warn, info,"), "{error}");
        }
    }
}
