//! Stdout: text or JSON, coloured on a terminal only.

use std::io::{self, BufWriter, StdoutLock, Write as _};

use anstream::{AutoStream, ColorChoice, adapter::strip_str, stream::RawStream};
use serde::Serialize;

use super::failure::Failure;

/// Takes what `--color` says, for stdout and stderr.
pub fn choose_colours(when: clap::ColorChoice) {
    match when {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
    .write_global();
}

/// Whether text for a stream is coloured: what was chosen, else what the environment says (`NO_COLOR`, `CLICOLOR`,
/// `CLICOLOR_FORCE`, `TERM`, `CI`), and whether it is a terminal.
pub fn is_coloured(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Where a command's data goes.
pub struct Output {
    writer: BufWriter<StdoutLock<'static>>,
    /// Whether styles are taken out of text.
    plain: bool,
    /// Whether it is to be JSON.
    pub json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let stdout = io::stdout();
        let plain = !is_coloured(&stdout);
        Self { writer: BufWriter::new(stdout.lock()), plain, json }
    }

    /// A line of text.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        let text = text.as_ref();
        let text = if self.plain { strip_str(text).to_string() } else { text.to_owned() };
        self.write(format!("{text}\n").as_bytes())
    }

    /// A line of JSON. It holds no control sequence: JSON escapes them.
    pub fn document(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(document).map_err(|error| {
            Failure::CannotKnow(anyhow::Error::new(error).context("failed to write JSON"))
        })?;
        line.push(b'\n');
        self.write(&line)
    }

    /// An answer: its document, or its lines of text.
    pub fn answer(
        &mut self,
        document: &impl Serialize,
        lines: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.json {
            return self.document(document);
        }
        lines().into_iter().try_for_each(|line| self.line(line))
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(Failure::of_output)
    }

    /// Bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(Failure::of_output)
    }
}
