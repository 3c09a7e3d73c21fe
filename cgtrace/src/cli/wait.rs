//! `wait`: waits until a cgroup is in a state.

use std::{
    os::unix::ffi::OsStrExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use cgtrace_client::{
    Error, paths,
    wire::{self, WaitReply},
};
use cgtrace_why::{NameError, Resolved, Resolver, WithResolution};

use super::{
    Outcome,
    arguments::Wait,
    connect::{Connected, Connector, Source},
    failure::Failure,
    hierarchy::of_option,
    output::Output,
    stderr::print,
    text,
};

/// The pauses between two attempts to reach a daemon that restarts.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_secs(1);

pub fn run(wait: &Wait, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let hierarchy = of_option(&wait.hierarchy);
    let mut connected = connector.connect_for_present(wait.quiet)?;
    let resolved = Resolver::new(hierarchy.as_deref()).one(&mut connected.client, wait.path.as_bytes());
    let Resolved { path, hierarchy: named, resolution } = resolved.map_err(|error| match error {
        // Exit status 1 would mean that the time is over.
        NameError::UnknownContainer(_) | NameError::UnknownPod(_) => {
            Failure::Usage(anyhow!(error).context("only a path can be waited for before its cgroup exists"))
        }
        error => error.into(),
    })?;
    let call = wire::Wait {
        path: paths::to_wire(&path),
        state: wait.until,
        hierarchy: hierarchy.or(named),
        timeout_ms: wait.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
    };
    if !wait.quiet && !output.json {
        // Before the wait: it shows what is waited for.
        output.paragraphs(resolution.as_ref().map(text::resolution))?;
        output.flush()?;
    }
    let source = connected.source;
    let reply = reply(call, wait.timeout, connected, connector)?;
    if wait.quiet {
        // Only the exit status is wanted.
    } else if output.json {
        output.document(&source.answer(WithResolution { document: &reply, resolution }))?;
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
    connected: Connected,
    connector: &Connector,
) -> Result<WaitReply, Failure> {
    let begun = Instant::now();
    let Connected { mut client, source } = connected;
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
