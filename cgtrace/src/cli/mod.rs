//! The command line: one file a subcommand. Data goes to stdout, everything else to stderr.
//!
//! Exit codes: 0 and 1 answer the question that the command asks; 2 is wrong usage or an impossible name; 3 says
//! that the answer cannot be known.

mod arguments;
mod completions;
mod config;
mod connect;
mod daemon;
mod duration;
mod events;
mod exists;
mod failure;
mod journal;
mod list;
mod metrics;
mod name;
mod output;
mod show;
mod status;
mod stderr;
mod text;
mod tree;
mod unpin;
mod verify;
mod wait;
mod why;

use std::{env, process::ExitCode};

use cgtrace_client::{RUNTIME_DIR_ENV, SOCKET_ENV};
use clap::{FromArgMatches as _, error::ErrorKind, parser::ValueSource};

use arguments::{Arguments, Command};
use connect::Connector;
use failure::Failure;
use output::Output;

/// The command line itself, for completions and manual pages.
#[must_use]
pub fn command() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// What a command's question came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
}

/// Parses the arguments, runs the command, and says how to exit.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for; the rest is wrong usage, which clap exits with 2 for.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    output::choose_colours(arguments.color);
    let mut output = Output::new(arguments.json);
    let verdict = answer(arguments, &mut output).and_then(|verdict| {
        output.flush()?;
        Ok(verdict)
    });
    match verdict {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}

fn parse() -> Result<Arguments, clap::Error> {
    let mut command = command();
    for (argument, variable) in [("socket", SOCKET_ENV), ("runtime_dir", RUNTIME_DIR_ENV)] {
        if env::var_os(variable).is_some_and(|path| path.is_empty()) {
            // Empty is unset, as in shells and for the other clients.
            command = command.mut_arg(argument, |argument| argument.env(None));
        }
    }
    let matches = command.try_get_matches_from_mut(env::args_os())?;
    if matches.subcommand_name() == Some("daemon")
        && matches.value_source("socket") == Some(ValueSource::CommandLine)
    {
        let what = "--socket selects one socket for a client; a daemon serves both of a directory: --runtime-dir DIR";
        return Err(command.error(ErrorKind::ArgumentConflict, what));
    }
    Arguments::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn answer(arguments: Arguments, output: &mut Output) -> Result<Verdict, Failure> {
    let Arguments { socket, runtime_dir, daemon_only, .. } = arguments;
    let connector = Connector::new(socket, runtime_dir.clone(), daemon_only);
    match arguments.command {
        Command::Daemon(daemon) => daemon::run(*daemon, runtime_dir),
        Command::Exists(exists) => exists::run(&exists, &connector, output),
        Command::Wait(wait) => wait::run(&wait, &connector, output),
        Command::Show(show) => show::run(&show, &connector, output),
        Command::List(list) => list::run(&list, &connector, output),
        Command::Tree(tree) => tree::run(&tree, &connector, output),
        Command::Events(events) => events::run(&events, &connector, output),
        Command::Status => status::run(&connector, output),
        Command::Why(why) => why::run(&why, &connector, output),
        Command::Metrics => metrics::run(&connector, output),
        Command::Verify(verify) => verify::run(&verify, &connector, output),
        Command::Config(config) => config::run(&config, output),
        Command::Unpin { folder } => unpin::run(&folder, output),
        Command::Completions { shell } => completions::run(shell, output),
    }
}
