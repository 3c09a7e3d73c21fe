//! A pseudoterminal for a program to write to.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    process::{Command, Stdio},
};

use anyhow::Result;

use super::skip;

/// The width of the terminals.
pub const COLUMNS: u16 = 80;

/// Runs a command with its stdout on a terminal, and returns the output.
pub fn shows(command: &mut Command) -> Result<Vec<u8>> {
    shows_in(command, COLUMNS)
}

/// Like [`shows`], on a terminal with that many columns.
pub fn shows_in(command: &mut Command, columns: u16) -> Result<Vec<u8>> {
    let (mut screen, line) =
        open(columns).map_err(|error| skip(format!("cannot open a terminal: {error}")))?;
    let mut child = command.stdout(line).spawn()?;
    // The terminal stays open as long as a process has the other side.
    command.stdout(Stdio::null());
    let mut text = Vec::new();
    match screen.read_to_end(&mut text) {
        Ok(_) => {}
        // The kernel reports that no process has the other side any more.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
        Err(error) => return Err(error.into()),
    }
    child.wait()?;
    Ok(text)
}

/// Runs a command with its stderr on a terminal, returns the first line, and kills the command.
pub fn first_of_stderr(command: &mut Command) -> Result<Vec<u8>> {
    let (screen, line) = open(COLUMNS).map_err(|error| skip(format!("cannot open a terminal: {error}")))?;
    let mut child = command.stderr(line).spawn()?;
    command.stderr(Stdio::null());
    let mut text = Vec::new();
    let read = BufReader::new(screen).read_until(b'\n', &mut text);
    child.kill()?;
    child.wait()?;
    read?;
    Ok(text)
}

/// Both sides of one. Unlike those of openpty(3), programs that other tests start meanwhile do not inherit them.
pub fn open(columns: u16) -> io::Result<(File, File)> {
    let side = |path: &str| OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path);
    let screen = side("/dev/ptmx")?;
    let (locked, mut number): (libc::c_int, libc::c_uint) = (0, 0);
    // SAFETY: the kernel reads an int.
    let unlocked = unsafe { libc::ioctl(screen.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) };
    // SAFETY: the kernel writes an unsigned int.
    let numbered = unsafe { libc::ioctl(screen.as_raw_fd(), libc::TIOCGPTN, &raw mut number) };
    if unlocked < 0 || numbered < 0 {
        return Err(io::Error::last_os_error());
    }
    let line = side(&format!("/dev/pts/{number}"))?;
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads a winsize.
    if unsafe { libc::ioctl(line.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((screen, line))
}
