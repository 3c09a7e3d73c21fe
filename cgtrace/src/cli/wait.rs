//! `wait`: waits until a cgroup is in a state.

use std::{
    thread,
    time::{Duration, Instant},
};

use cgtrace_client::{
    Client, Error,
    wire::{self, WaitReply},
};

use super::{
    Outcome,
    arguments::Wait,
    connect::{Connected, Connector, Source},
    failure::Failure,
    output::Output,
    path,
    stderr::print,
    text,
};

/// The pauses between two attempts to reach a daemon that restarts.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

pub fn run(wait: &Wait, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let call = wire::Wait {
        path: path::to_wire(&wait.path)?,
        state: wait.until,
        hierarchy: wait.hierarchy.name.clone(),
        timeout_ms: wait.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
    };
    let Connected { client, source } = connector.connect_for_present(wait.quiet)?;
    let reply = reply(call, wait.timeout, client, source, connector)?;
    if wait.quiet {
        // Only the exit status is wanted.
    } else if output.json {
        output.document(&source.answer(&reply))?;
    } else if reply.reached {
        let elapsed = text::duration(Duration::from_millis(reply.elapsed_ms));
        output.line(format!("{} after {elapsed}", wait.until))?;
        if reply.result.present {
            output.paragraphs(text::results(&reply.result))?;
        }
    } else {
        let timeout = text::duration(wait.timeout.unwrap_or_default());
        print(format!("cgtrace: timed out: not {} after {timeout}", wait.until));
    }
    Ok(if reply.reached { Outcome::Yes } else { Outcome::No })
}

/// Waits on this connection and, if the daemon ends meanwhile, on those to the next one: a restart or an upgrade
/// must not fail a unit that waits in its `ExecStartPre=`.
fn reply(
    mut call: wire::Wait,
    timeout: Option<Duration>,
    mut client: Client,
    source: Source,
    connector: &Connector,
) -> Result<WaitReply, Failure> {
    let begun = Instant::now();
    let mut error = match client.wait_with(&call) {
        Err(error @ (Error::Closed | Error::Io(_))) if error.is_transient() && source == Source::Daemon => {
            error
        }
        other => return Ok(other?),
    };
    print(format!("cgtrace: {error}; waiting for the next daemon"));
    let mut pause = MIN_PAUSE;
    loop {
        if let Some(timeout) = timeout {
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(error.into());
            }
            pause = pause.min(left);
            call.timeout_ms = Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        }
        match connector.daemon().and_then(|mut client| client.wait_with(&call)) {
            Ok(mut reply) => {
                reply.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Ok(reply);
            }
            Err(again) if again.is_transient() => error = again,
            Err(again) => return Err(again.into()),
        }
        thread::sleep(pause);
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
