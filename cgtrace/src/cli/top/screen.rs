//! The terminal: taken over, and given back in any case.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
    os::fd::AsFd as _,
    panic,
};

use ratatui::{
    Terminal, TerminalOptions, Viewport,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size},
    },
    layout::Rect,
};

use crate::cli::top::{
    app::App,
    view::{Theme, draw},
};

/// The size of a terminal that does not know its own.
const DEFAULT: Rect = Rect { x: 0, y: 0, width: 80, height: 24 };

/// Whether keys can be read and a screen can be drawn.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The screen. Dropping it restores the terminal; so does a panic, before its message is printed.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<File>>>,
    /// Stdout without its lock, which another thread may hold.
    stdout: File,
}

impl Screen {
    pub fn enter() -> io::Result<Self> {
        let stdout = || Ok::<_, io::Error>(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        let last = stdout()?;
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave(&last);
            previous(info);
        }));
        let viewport = match size() {
            Ok((0, _) | (_, 0)) => Viewport::Fixed(DEFAULT),
            _ => Viewport::Fullscreen,
        };
        let backend = CrosstermBackend::new(BufWriter::new(stdout()?));
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
        let mut screen = Self { terminal, stdout: stdout()? };
        enable_raw_mode()?;
        execute!(screen.stdout, EnterAlternateScreen)?;
        screen.terminal.hide_cursor()?;
        Ok(screen)
    }

    pub fn draw(&mut self, app: &mut App, now: u64, theme: Theme) -> io::Result<()> {
        self.terminal.draw(|frame| draw(app, frame.area(), frame.buffer_mut(), now, theme))?;
        Ok(())
    }

    /// Draws everything again the next time.
    pub fn forget(&mut self) -> io::Result<()> {
        let area = self.terminal.get_frame().area();
        self.terminal.resize(area)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave(&self.stdout);
    }
}

/// Restores the terminal. Nothing can be done about an error.
fn leave(mut stdout: &File) {
    let _ = execute!(stdout, LeaveAlternateScreen, Show);
    let _ = stdout.flush();
    let _ = disable_raw_mode();
}
