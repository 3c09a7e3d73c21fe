//! A terminal for a program to write to.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    process::{Command, Stdio},
};

use anyhow::Result;

use super::skip;

/// Runs a command with its stdout on a terminal, and gives what that shows.
pub fn shows(command: &mut Command) -> Result<Vec<u8>> {
    let (mut screen, line) = open().map_err(|error| skip(format!("no terminal can be had: {error}")))?;
    let mut child = command.stdout(line).spawn()?;
    // Whoever holds the other side keeps the terminal from ending.
    command.stdout(Stdio::null());
    let mut text = Vec::new();
    match screen.read_to_end(&mut text) {
        Ok(_) => {}
        // So the kernel says that nobody has the other side any more.
        Err(error) if error.raw_os_error() == Some(libc::EIO) => {}
        Err(error) => return Err(error.into()),
    }
    child.wait()?;
    Ok(text)
}

/// Runs a command with its stderr on a terminal, gives the first line of that, and ends the command.
pub fn first_of_stderr(command: &mut Command) -> Result<Vec<u8>> {
    let (screen, line) = open().map_err(|error| skip(format!("no terminal can be had: {error}")))?;
    let mut child = command.stderr(line).spawn()?;
    command.stderr(Stdio::null());
    let mut text = Vec::new();
    let read = BufReader::new(screen).read_until(b'\n', &mut text);
    child.kill()?;
    child.wait()?;
    read?;
    Ok(text)
}

/// Both sides. Neither is left to programs that other tests start meanwhile, as openpty(3) would do.
fn open() -> io::Result<(File, File)> {
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
    Ok((screen, line))
}
