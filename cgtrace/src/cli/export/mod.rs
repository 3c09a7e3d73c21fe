//! `export`: writes the history in a format for other programs.

mod perfetto;
mod sqlite;

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::anyhow;
use cgtrace_client::{paths, wire};
use serde::Serialize;

use super::{
    Outcome,
    arguments::{Export, ExportFormat},
    connect::Connector,
    failure::Failure,
    output::Output,
    past::Past,
    when::When,
};

pub fn run(export: &Export, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    if export.format == ExportFormat::Sqlite {
        check_sqlite(export)?;
        let folder = match &export.history.folder {
            Some(folder) => folder.clone(),
            None => folder_of_daemon(connector)?,
        };
        let database = sqlite::merge(&folder)?;
        let mut sink = Sink::open(export.output.as_deref(), output)?;
        io::copy(&mut database.as_file(), &mut sink).map_err(|error| sink.failure(error))?;
        return sink.finish();
    }
    let mut past = Past::open(export.history.folder.as_deref(), connector)?;
    let mut sink = Sink::open(export.output.as_deref(), output)?;
    let (since, until) = (export.range.since.map(When::to_wire), export.range.until.map(When::to_wire));
    match export.format {
        ExportFormat::Perfetto => perfetto::write(&mut past, since, until, &mut sink)?,
        _ => {
            let log = wire::Log { since, until, ..wire::Log::default() };
            past.log(&log, &mut |item| match &item.event {
                Some(event) => sink.line(event),
                None => sink.line(&item),
            })?;
        }
    }
    sink.finish()
}

/// Checks what `--format sqlite` cannot do.
fn check_sqlite(export: &Export) -> Result<(), Failure> {
    if export.range.since.is_some() || export.range.until.is_some() {
        return Err(Failure::Usage(anyhow!(
            "`--format sqlite` contains the whole history; select by time in SQL: \
             select * from events where time between '2026-11-30 13:00' and '2026-11-30 14:00'"
        )));
    }
    if export.output.is_none() && io::stdout().is_terminal() {
        return Err(Failure::Usage(anyhow!(
            "an SQLite database is not for a terminal; give a file (-o FILE), or redirect stdout"
        )));
    }
    Ok(())
}

/// The daemon's folder, for `--format sqlite`: its files have what the daemon's answers lack, the numbers of
/// rows. They are read with the authority of the caller.
fn folder_of_daemon(connector: &Connector) -> Result<PathBuf, Failure> {
    let missing = "`--format sqlite` merges the files of a history; give their folder (--history DIR)";
    let mut client =
        connector.daemon().map_err(|error| Failure::NoAnswer(anyhow!(error).context(missing)))?;
    let folder = client.status()?.history.folder;
    folder.map(PathBuf::from).ok_or_else(|| {
        Failure::NoAnswer(anyhow!("{missing}: that of the running daemon is in memory, without files"))
    })
}

/// Where the export goes.
enum Sink<'o> {
    File { writer: BufWriter<File>, name: String },
    Stdout(&'o mut Output),
}

impl<'o> Sink<'o> {
    fn open(file: Option<&Path>, output: &'o mut Output) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self::Stdout(output)) };
        let name = paths::escape(path.as_os_str().as_bytes());
        match File::create(path) {
            Ok(file) => Ok(Self::File { writer: BufWriter::new(file), name }),
            Err(error) => Err(Failure::NoAnswer(anyhow!("failed to create `{name}`: {error}"))),
        }
    }

    fn failure(&self, error: io::Error) -> Failure {
        match self {
            Self::File { name, .. } => Failure::NoAnswer(anyhow!("failed to write `{name}`: {error}")),
            Self::Stdout(_) => Failure::of_output(error),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.write_all(text.as_bytes()).map_err(|error| self.failure(error))
    }

    /// Writes a document without a line end.
    fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut *self, document);
        written.map_err(|error| self.failure(error.into()))
    }

    fn line(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        self.json(document)?;
        self.text("\n")
    }

    fn finish(mut self) -> Result<Outcome, Failure> {
        self.flush().map_err(|error| self.failure(error))?;
        Ok(Outcome::Yes)
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File { writer, .. } => writer.write(bytes),
            Self::Stdout(output) => output.writer().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File { writer, .. } => writer.flush(),
            Self::Stdout(output) => output.writer().flush(),
        }
    }
}
