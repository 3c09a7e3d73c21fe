//! Stdout: text or JSON, coloured on a terminal only.

use std::io::{self, BufWriter, StdoutLock, Write as _};

use anstream::{AutoStream, adapter::strip_str};
use clap::ColorChoice;
use serde::Serialize;

use super::failure::Failure;

/// Where a command's data goes.
pub struct Output {
    writer: BufWriter<StdoutLock<'static>>,
    /// Whether styles are taken out of text.
    plain: bool,
    /// Whether it is to be JSON.
    pub json: bool,
}

impl Output {
    pub fn new(color: ColorChoice, json: bool) -> Self {
        let stdout = io::stdout();
        let plain = match color {
            // Looks at NO_COLOR, CLICOLOR, TERM, and whether it is a terminal.
            ColorChoice::Auto => AutoStream::choice(&stdout) == anstream::ColorChoice::Never,
            ColorChoice::Always => false,
            ColorChoice::Never => true,
        };
        Self { writer: BufWriter::new(stdout.lock()), plain, json }
    }

    /// A line of text.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        let text = text.as_ref();
        if self.plain {
            self.write(strip_str(text).to_string().as_bytes())?;
        } else {
            self.write(text.as_bytes())?;
        }
        self.write(b"\n")
    }

    /// A line of JSON. It holds no control sequence: JSON escapes them.
    pub fn document(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(document).map_err(|error| {
            Failure::CannotKnow(anyhow::Error::new(error).context("failed to write JSON"))
        })?;
        line.push(b'\n');
        self.write(&line)
    }

    pub fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(Failure::of_output)
    }

    /// Bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(Failure::of_output)
    }
}
