//! A program on a terminal of its own: keys go in, and what it displays is seen.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, Command, ExitStatus},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    process::{Pid, Signal, kill_process},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

use super::{display::Display, skip, terminal};

/// How long to wait for what must happen.
const LIMIT: Duration = Duration::from_secs(30);

/// A running program, killed when dropped.
pub struct Session {
    child: Child,
    /// The side of the user, and that of the program.
    screen: File,
    line: File,
    output: Receiver<Vec<u8>>,
    before: Termios,
    pub display: Display,
}

impl Session {
    /// Starts a program as the leader of a terminal with 80 columns and 24 rows.
    pub fn start(command: &mut Command) -> Result<Self> {
        let (screen, line) = terminal::open(terminal::COLUMNS)
            .map_err(|error| skip(format!("cannot open a terminal: {error}")))?;
        let before = tcgetattr(&line)?;
        command.stdin(line.try_clone()?).stdout(line.try_clone()?).stderr(line.try_clone()?);
        // SAFETY: both are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn()?;
        let (sender, output) = mpsc::channel();
        let mut reader = screen.try_clone()?;
        thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(length) = reader.read(&mut bytes) {
                if length == 0 || sender.send(bytes[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, screen, line, output, before, display: Display::new(terminal::COLUMNS, 24) })
    }

    pub fn press(&mut self, keys: &str) -> Result<()> {
        Ok(self.screen.write_all(keys.as_bytes())?)
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        Ok(kill_process(pid.context("no pid")?, signal)?)
    }

    /// Gives the terminal another size.
    pub fn resize(&mut self, columns: u16, rows: u16) -> Result<()> {
        self.display = Display::new(columns, rows);
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.screen, size)?)
    }

    /// Waits until the display satisfies a condition.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Display) -> bool) -> Result<()> {
        let start = Instant::now();
        while !condition(&self.display) {
            let left = LIMIT.saturating_sub(start.elapsed());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.display.write(&bytes),
                Err(error) => bail!("not {what}: {error}: {:#?}", self.display.lines()),
            }
        }
        Ok(())
    }

    /// Waits until the program exits, and checks that the terminal is as before.
    pub fn ends(&mut self) -> Result<ExitStatus> {
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if start.elapsed() > LIMIT => bail!("it did not exit: {:#?}", self.display.lines()),
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        self.until("restored", |display| !display.is_alternate && !display.is_cursor_hidden)?;
        let after = tcgetattr(&self.line)?;
        let modes = |of: &Termios| (of.input_modes, of.output_modes, of.local_modes, of.control_modes);
        anyhow::ensure!(modes(&after) == modes(&self.before), "{:?} is not {:?}", after, self.before);
        Ok(status)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
