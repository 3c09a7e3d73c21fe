//! The log's format: with timestamps on a terminal or in a file; for the journal, with a priority prefix on
//! each line (sd-daemon(3)) and without timestamps, which the journal adds itself.

use std::{env, ffi::OsStr, fmt, io, os::fd::AsFd};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
    },
    registry::LookupSpan,
};

/// Whether stderr is connected to the journal.
#[must_use]
pub fn logs_to_journal() -> bool {
    env::var_os("JOURNAL_STREAM").is_some_and(|stream| is_stream(io::stderr(), &stream))
}

/// `JOURNAL_STREAM` contains the stream's device and inode, because stderr may have been redirected since.
fn is_stream(fd: impl AsFd, stream: &OsStr) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| stream.to_str() == Some(format!("{}:{}", stat.st_dev, stat.st_ino).as_str()))
}

/// Formats the daemon's log.
#[derive(Debug)]
pub struct LogFormat {
    plain: Format,
    journal: bool,
}

impl LogFormat {
    /// The format for the present stderr.
    #[must_use]
    pub fn of_stderr() -> Self {
        Self { plain: Format::default(), journal: logs_to_journal() }
    }
}

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if !self.journal {
            return self.plain.format_event(context, writer, event);
        }
        let metadata = event.metadata();
        write!(writer, "<{}>{}: ", priority(*metadata.level()), metadata.target())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The syslog(3) priority of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, Seek as _},
        os::unix::fs::MetadataExt as _,
        sync::Arc,
    };

    use super::*;

    fn logged(journal: bool) -> String {
        let mut file = tempfile::tempfile().unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(Arc::new(file.try_clone().unwrap()))
            .event_format(LogFormat { plain: Format::default(), journal })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(hook = "x", "skipped");
            tracing::info!("complete");
        });
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn the_journal_gets_priorities_and_a_terminal_timestamps() {
        let target = module_path!();
        assert_eq!(logged(true), format!("<4>{target}: skipped hook=\"x\"\n<6>{target}: complete\n"));
        let plain = logged(false);
        assert!(plain.contains("WARN") && plain.contains("skipped") && !plain.contains('<'), "{plain}");
    }

    #[test]
    fn a_stream_is_identified_by_device_and_inode() {
        let file = File::open("/dev/null").unwrap();
        let stat = file.metadata().unwrap();
        assert!(is_stream(&file, OsStr::new(&format!("{}:{}", stat.dev(), stat.ino()))));
        assert!(!is_stream(&file, OsStr::new("8:1")));
    }
}
