//! The command line: one file per subcommand. Data goes to stdout, everything else to stderr.
//!
//! Exit status: 0 yes, 1 no, 2 usage error or invalid path, 3 no answer.

mod arguments;
mod completions;
mod config;
mod connect;
mod daemon;
mod doctor;
mod duration;
mod empty;
mod events;
mod exists;
mod export;
mod failure;
mod hierarchy;
mod journal;
mod list;
mod live;
mod log;
mod manual;
mod metrics;
mod output;
mod past;
mod path;
mod patience;
mod printer;
mod show;
mod status;
mod stderr;
mod text;
mod top;
mod tree;
mod unpin;
mod verify;
mod wait;
mod when;
mod why;

use std::{env, process::ExitCode};

use cgtrace_client::{RUNTIME_DIR_ENV, SOCKET_ENV};
use clap::{FromArgMatches as _, error::ErrorKind, parser::ValueSource};

use arguments::{Arguments, Command};
use connect::Connector;
use failure::Failure;
use output::Output;

pub use completions::script as completion_script;
pub use manual::Page;

/// The clap command, from which completions and man pages are generated.
#[must_use]
pub fn command() -> clap::Command {
    with_examples(<Arguments as clap::CommandFactory>::command(), "")
}

/// Adds the examples of the man page to `--help`.
fn with_examples(command: clap::Command, path: &str) -> clap::Command {
    let command = match (Page::of(path), command.get_after_help().map(ToString::to_string)) {
        (Some(page), Some(after)) => command.after_long_help(format!("{}\n\n{after}", page.help())),
        (Some(page), None) => command.after_long_help(page.help()),
        (None, _) => command,
    };
    command.mut_subcommands(|below| {
        let path = format!("{path} {}", below.get_name());
        with_examples(below, path.trim_start())
    })
}

/// What the exit status reports: 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Yes,
    No,
}

/// Parses the arguments, runs the command and returns its exit status.
#[must_use]
pub fn run() -> ExitCode {
    if completions::handle_request() {
        return ExitCode::SUCCESS;
    }
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // 0 for --help and --version, 2 for a usage error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    output::set_color_choice(arguments.color);
    let mut output = Output::new(arguments.json);
    let outcome = execute(arguments, &mut output).and_then(|outcome| {
        output.flush()?;
        Ok(outcome)
    });
    match outcome {
        Ok(Outcome::Yes) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}

fn parse() -> Result<Arguments, clap::Error> {
    let mut command = command();
    for (argument, variable) in [("socket", SOCKET_ENV), ("runtime_dir", RUNTIME_DIR_ENV)] {
        if env::var_os(variable).is_some_and(|path| path.is_empty()) {
            // An empty variable counts as unset, as in the client library.
            command = command.mut_arg(argument, |argument| argument.env(None));
        }
    }
    let matches = command.try_get_matches_from_mut(env::args_os())?;
    if matches.subcommand_name() == Some("daemon")
        && matches.value_source("socket") == Some(ValueSource::CommandLine)
    {
        let message = "--socket is for clients; the daemon creates its sockets in --runtime-dir DIR";
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn execute(arguments: Arguments, output: &mut Output) -> Result<Outcome, Failure> {
    let Arguments { socket, runtime_dir, daemon_only, connect_timeout, .. } = arguments;
    let connector = Connector::new(socket, runtime_dir.clone(), daemon_only, connect_timeout);
    match arguments.command {
        Command::Daemon(daemon) => daemon::run(*daemon, runtime_dir),
        Command::Exists(exists) => exists::run(&exists, &connector, output),
        Command::Wait(wait) => wait::run(&wait, &connector, output),
        Command::Show(show) => show::run(&show, &connector, output),
        Command::List(list) => list::run(&list, &connector, output),
        Command::Tree(tree) => tree::run(&tree, &connector, output),
        Command::Top(top) => top::run(&top, &connector, output),
        Command::Events(events) => events::run(&events, &connector, output),
        Command::Log(log) => log::run(&log, &connector, output),
        Command::Export(export) => export::run(&export, &connector, output),
        Command::Doctor(doctor) => doctor::run(&doctor, &connector, output),
        Command::Status => status::run(&connector, output),
        Command::Why(why) => why::run(&why, &connector, output),
        Command::Metrics => metrics::run(&connector, output),
        Command::Verify(verify) => verify::run(&verify, &connector, output),
        Command::Config(config) => config::run(&config, output),
        Command::Unpin { folder } => unpin::run(folder, output),
        Command::Completions { shell } => completions::run(shell, output),
    }
}
