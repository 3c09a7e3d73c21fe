//! The threads that wait for something, and what they send.

use std::{
    io, process,
    sync::mpsc::{self, SyncSender},
    thread,
    time::Duration,
};

use cgtrace_client::Error;
use ratatui::crossterm::{
    event::{self, Event},
    terminal::disable_raw_mode,
};
use tokio::{
    runtime::{Builder, Runtime},
    select,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{
    model::Update,
    processes::{Counter, Counts, Request},
    source::Source,
};

/// How long the program may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Debug)]
pub enum Input {
    Updates(Vec<Update>),
    Counts(Counts),
    Terminal(Event),
    /// A signal asks for the end.
    Signal,
    /// The tracer in this process ended.
    Ended(Error),
    /// Keys cannot be read any more, or a thread panicked.
    Failed(io::Error),
}

/// Ends the program if its thread panics: the panic has left the screen.
struct Guard(SyncSender<Input>);

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Input::Failed(io::Error::other("a thread panicked; see its message")));
        }
    }
}

/// Receives from the daemon.
pub fn follow(source: Source, inputs: SyncSender<Input>) {
    thread::spawn(move || {
        let _guard = Guard(inputs.clone());
        let error = source.follow(|updates| inputs.send(Input::Updates(updates)).is_ok());
        if let Some(error) = error {
            // The receiver is gone at the end.
            let _ = inputs.send(Input::Ended(error));
        }
    });
}

/// Counts processes.
pub fn count(inputs: SyncSender<Input>) -> SyncSender<Request> {
    let (sender, requests) = mpsc::sync_channel::<Request>(1);
    thread::spawn(move || {
        let _guard = Guard(inputs.clone());
        let mut counter = Counter::default();
        for request in requests {
            if inputs.send(Input::Counts(counter.count(&request))).is_err() {
                return;
            }
        }
    });
    sender
}

/// Reads keys.
pub fn read_keys(inputs: SyncSender<Input>) {
    thread::spawn(move || {
        let _guard = Guard(inputs.clone());
        loop {
            let (input, is_last) = match event::read() {
                Ok(event) => (Input::Terminal(event), false),
                Err(error) => (Input::Failed(error), true),
            };
            if inputs.send(input).is_err() || is_last {
                return;
            }
        }
    });
}

/// The signals that end the program, from now on.
pub struct Signals {
    runtime: Runtime,
    signals: [Signal; 4],
}

impl Signals {
    /// From now on these signals do not end the process, but are sent.
    pub fn catch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let guard = runtime.enter();
        let signals = [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
            signal(SignalKind::quit())?,
        ];
        drop(guard);
        Ok(Self { runtime, signals })
    }

    pub fn send(self, inputs: SyncSender<Input>) {
        let Self { runtime, signals: [mut terminate, mut interrupt, mut hangup, mut quit] } = self;
        thread::spawn(move || {
            runtime.block_on(async {
                select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    _ = hangup.recv() => {}
                    _ = quit.recv() => {}
                }
            });
            let _ = inputs.send(Input::Signal);
            // The program ends sooner, unless its terminal does not take what it writes.
            thread::sleep(PATIENCE);
            let _ = disable_raw_mode();
            process::exit(1);
        });
    }
}
