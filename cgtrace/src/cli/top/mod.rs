//! `top`: the cgroups as a live tree on the whole terminal.
//!
//! [`source`] receives a snapshot and the events, [`model`] knows what exists, [`view`] draws the visible rows.
//! One thread owns the model; the others send it what they wait for.

mod app;
mod cursor;
mod input;
mod model;
mod once;
mod processes;
mod screen;
mod source;
mod threads;
mod view;

use std::{
    io,
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use cgtrace_client::wire;
use cgtrace_host::clock::boot_ns;

pub use model::Order;

use super::{Outcome, arguments::Top, connect::Connector, failure::Failure, output::Output, path};
use app::App;
use input::{Action, action};
use processes::Request;
use screen::Screen;
use source::Source;
use threads::{Input, Signals};
use view::Theme;

/// The shortest time between two frames, unless a key was pressed.
const FRAME: Duration = Duration::from_millis(100);

/// The shortest `--interval`.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// How many inputs wait. The daemon drops events if the screen is slower for long, and says so.
const QUEUE: usize = 64;

/// How many cgroups that are not visible have their processes counted per interval, to sort by them.
const SWEEP: usize = 1_000;

pub fn run(top: &Top, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    if output.json {
        return Err(Failure::Usage(anyhow!("top prints no JSON; try: cgtrace --json list, or events")));
    }
    if !top.once && !screen::is_possible() {
        return Err(Failure::Usage(anyhow!(
            "top needs a terminal as stdin and stdout; without one try: cgtrace top --once, tree or events"
        )));
    }
    let watch = wire::Watch {
        patterns: path::patterns(&top.patterns),
        hierarchy: top.hierarchy.name.clone(),
        ..wire::Watch::default()
    };
    let (source, first) = Source::connect(connector, watch)?;
    let mut app = App::default();
    app.model.order = top.sort;
    let now = boot_ns();
    for update in first {
        app.model.apply(update, now);
    }
    if top.once {
        return once::print(&mut app.model, now, output);
    }
    let theme = Theme { is_colored: super::output::is_colored(&io::stdout()) };
    live(app, source, top.interval.max(MIN_INTERVAL), theme)?;
    Ok(Outcome::Yes)
}

fn live(app: App, source: Source, interval: Duration, theme: Theme) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::NoAnswer(anyhow::Error::new(error).context("failed to use the terminal"));
    let (sender, inputs) = mpsc::sync_channel(QUEUE);
    let signals = Signals::catch().map_err(failed)?;
    let screen = Screen::enter().map_err(failed)?;
    signals.send(sender.clone());
    threads::follow(source, sender.clone());
    threads::read_keys(sender.clone());
    let requests = threads::count(sender);
    let mut live = Live { app, screen, requests, counted: Vec::new(), sweep: Vec::new(), is_dirty: true };
    match live.run(&inputs, interval, theme).map_err(failed)? {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// The running program.
struct Live {
    app: App,
    screen: Screen,
    requests: SyncSender<Request>,
    /// The visible rows whose processes were counted.
    counted: Vec<u64>,
    /// Those that are not visible, and still to be counted.
    sweep: Vec<u64>,
    is_dirty: bool,
}

impl Live {
    /// Runs until the user quits, or the tracer in this process ends with an error.
    fn run(
        &mut self,
        inputs: &Receiver<Input>,
        interval: Duration,
        theme: Theme,
    ) -> io::Result<Option<cgtrace_client::Error>> {
        let mut next_tick = Instant::now();
        let mut next_frame = next_tick;
        while !self.app.has_ended {
            let now = Instant::now();
            if now >= next_tick {
                self.app.model.tick(boot_ns());
                self.count(true);
                (self.is_dirty, next_tick) = (true, now + interval);
            }
            if self.is_dirty && now >= next_frame {
                self.screen.draw(&mut self.app, boot_ns(), theme)?;
                self.count(false);
                (self.is_dirty, next_frame) = (false, now + FRAME);
            }
            let wake = if self.is_dirty { next_frame.min(next_tick) } else { next_tick };
            let input = match inputs.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(input) => input,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("a thread panicked")),
            };
            match input {
                Input::Updates(updates) => {
                    let now = boot_ns();
                    self.is_dirty |= !updates.is_empty();
                    for update in updates {
                        self.app.model.apply(update, now);
                    }
                }
                Input::Counts(counts) => {
                    self.is_dirty = true;
                    if let Some(tree) = self.app.model.trees.get_mut(&counts.hierarchy) {
                        for (id, count) in counts.counts {
                            tree.set_processes(id, count);
                        }
                    }
                }
                Input::Terminal(event) => {
                    if let Some(action) = action(&event, self.app.is_typing) {
                        self.app.apply(&action);
                        if action == Action::Redraw {
                            self.screen.forget()?;
                        }
                        (self.is_dirty, next_frame) = (true, now);
                    }
                }
                Input::Signal => self.app.has_ended = true,
                Input::Ended(error) => return Ok(Some(error)),
                Input::Failed(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Requests the numbers of processes: of the visible rows, if they changed or it is time; and of some
    /// others at that time, if they are what rows are sorted by.
    fn count(&mut self, is_time: bool) {
        let Some(tree) = self.app.model.tree() else { return };
        let visible = self.app.cursor.visible();
        if !is_time && self.counted == visible {
            return;
        }
        let mut ids = visible.to_vec();
        if is_time && self.app.model.order == Order::Processes {
            if self.sweep.is_empty() {
                self.sweep = tree.ids().collect();
            }
            ids.extend(self.sweep.drain(self.sweep.len().saturating_sub(SWEEP)..));
        }
        let present = ids.iter().filter_map(|id| Some((*id, tree.get(*id)?)));
        let present = present.filter(|(_, node)| node.is_present());
        let cgroups = present.map(|(id, node)| (id, node.path.clone())).collect();
        match self.requests.try_send(Request { hierarchy: self.app.model.shown, cgroups }) {
            Ok(()) => self.counted = visible.to_vec(),
            // The last ones are still being counted.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}
