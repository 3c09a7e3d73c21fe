//! `daemon`: the service in the foreground.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use tracing_subscriber::{EnvFilter, reload};

use super::{Verdict, arguments, failure::Failure, journal::LogFormat, output::is_coloured};
use crate::daemon::{
    config::{self, Config, Reload, Settings},
    server::{DaemonOptions, Reloaded, run_daemon},
};

/// Where the configuration comes from: a file, and the command line, which wins.
struct Source {
    file: PathBuf,
    /// It was named, and so must be there.
    named: bool,
    flags: Settings,
}

impl Source {
    fn read(&self) -> Result<Config, anyhow::Error> {
        let file =
            if self.named || self.file.exists() { config::read(&self.file)? } else { Settings::default() };
        log_filter(file.log.as_deref()).with_context(|| format!("`{}`: `log`", self.file.display()))?;
        Ok(Config::of([file, self.flags.clone()]))
    }
}

pub fn run(daemon: arguments::Daemon, runtime_dir: Option<PathBuf>) -> Result<Verdict, Failure> {
    let arguments::Daemon { config: file, settings } = daemon;
    settings.check().map_err(|wrong| Failure::Usage(anyhow!(wrong.as_flag())))?;
    let source = Source {
        named: file.is_some(),
        file: file.unwrap_or_else(|| PathBuf::from(config::DEFAULT_PATH)),
        flags: Settings {
            runtime_dir,
            // An empty CGTRACE_LOG is an unset one.
            log: settings.log.clone().filter(|log| !log.is_empty()),
            ..settings
        },
    };
    let config = source.read().map_err(Failure::Usage)?;
    let filter = log_filter(Some(&config.log))
        .map_err(|error| Failure::Usage(error.context("CGTRACE_LOG or --log")))?;
    let subscriber = tracing_subscriber::fmt()
        // It would be said on stderr, which is what has failed: a full disk would end the daemon.
        .log_internal_errors(false)
        .with_ansi(is_coloured(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .event_format(LogFormat::of_stderr())
        .with_env_filter(filter)
        .with_filter_reloading();
    let filter = subscriber.reload_handle();
    subscriber.init();
    run_daemon(DaemonOptions {
        runtime_dir: config.runtime_dir.clone(),
        probe: config.probe.clone(),
        limits: config.limits,
        metrics_listen: config.metrics_listen,
        reload: reloading(source, config, filter),
    })
    .map_err(Failure::CannotKnow)?;
    Ok(Verdict::Yes)
}

/// What SIGHUP does: reads the file again, and says what came of it.
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
                tracing::error!("the configuration was not reloaded, and stays as it was: {error:#}");
                return None;
            }
        };
        let Reload { config, changed, needs_restart } = config::compare(&now, next);
        for key in &needs_restart {
            tracing::warn!("`{key}` changed in the configuration and needs a restart");
        }
        if config.log != now.log {
            // It fails only when nobody logs any more.
            let _ = filter.reload(directives);
        }
        tracing::info!(changed = changed.join(" "), "the configuration was reloaded");
        now = config;
        Some(Reloaded {
            limits: now.limits,
            metrics_listen: now.metrics_listen,
            tracked: now.probe.tracked.clone(),
        })
    })
}

/// What is logged.
pub fn log_filter(directives: Option<&str>) -> Result<EnvFilter, anyhow::Error> {
    EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .parse(directives.unwrap_or_default())
        .with_context(|| {
            format!(
                "`{}` says not what to log, like info or cgtrace::probe=debug",
                directives.unwrap_or_default()
            )
        })
}
