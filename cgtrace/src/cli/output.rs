//! Stdout: text or JSON, colored on a terminal only.

use std::{
    io::{self, BufWriter, IsTerminal, StdoutLock, Write},
    os::fd::AsFd,
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str, stream::RawStream};
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use super::{
    failure::Failure,
    text::{Line, wrap},
};

/// Applies `--color` to stdout and stderr.
pub fn set_color_choice(when: clap::ColorChoice) {
    match when {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
    .write_global();
}

/// Whether text on a stream is colored: by `--color`, else by the environment (`NO_COLOR`, `CLICOLOR`,
/// `CLICOLOR_FORCE`, `TERM`, `CI`) and whether the stream is a terminal.
pub fn is_colored(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// The width of a stream's terminal. One that does not know its size, like a serial line, counts as 80 columns
/// wide.
pub fn width_of(stream: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let columns = || tcgetwinsize(stream).map_or(0, |size| usize::from(size.ws_col));
    stream.is_terminal().then(|| match columns() {
        0 => 80,
        columns => columns,
    })
}

/// Where a command's data goes.
pub struct Output {
    writer: BufWriter<StdoutLock<'static>>,
    /// Whether to strip styles from text.
    plain: bool,
    /// The terminal's width; without a terminal, nothing is wrapped.
    pub width: Option<usize>,
    /// Whether to print JSON.
    pub json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let stdout = io::stdout();
        let plain = !is_colored(&stdout);
        let width = width_of(&stdout);
        Self { writer: BufWriter::new(stdout.lock()), plain, width, json }
    }

    /// Writes a line of text.
    pub fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        let text = text.as_ref();
        let text = if self.plain { strip_str(text).to_string() } else { text.to_owned() };
        self.write(format!("{text}\n").as_bytes())
    }

    /// The columns of a row; `None` if nothing is to be shortened.
    pub fn row_width(&self, is_wide: bool) -> Option<usize> {
        self.width.filter(|_| !is_wide)
    }

    /// Writes lines of text, wrapped to the terminal's width.
    pub fn paragraphs(&mut self, lines: impl IntoIterator<Item = impl Into<Line>>) -> Result<(), Failure> {
        for line in lines {
            line.into().lines(self.width).iter().try_for_each(|line| self.line(line))?;
        }
        Ok(())
    }

    /// Writes text after a head. On a terminal, it is wrapped, and its further lines are indented by the head's
    /// width.
    pub fn hanging(&mut self, head: &str, text: &str) -> Result<(), Failure> {
        let columns = strip_str(head).to_string().chars().count();
        let lines = match self.width.and_then(|width| width.checked_sub(columns)) {
            Some(room) => wrap(text, room),
            None => vec![text.to_owned()],
        };
        let mut head = head.to_owned();
        for line in lines {
            self.line(format!("{head}{}", line.trim_start()))?;
            head = " ".repeat(columns);
        }
        Ok(())
    }

    /// Writes a line of JSON, which escapes control characters.
    pub fn document(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(document)
            .map_err(|error| Failure::NoAnswer(anyhow::Error::new(error).context("failed to write JSON")))?;
        line.push(b'\n');
        self.write(&line)
    }

    /// Writes a result: its JSON document, or its lines of text.
    pub fn result(
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

    /// The writer, for what is neither text nor one document.
    pub fn writer(&mut self) -> &mut impl Write {
        &mut self.writer
    }

    /// Writes bytes unchanged.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(Failure::of_output)
    }
}
