//! `wait`: waits until a cgroup is in a state.

use std::{
    thread,
    time::{Duration, Instant},
};

use cgtrace_client::{Error, wire};

use super::{
    Outcome, arguments::Wait, connect::Connector, failure::Failure, output::Output, path, stderr::print, text,
};

pub fn run(wait: &Wait, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let call = wire::Wait {
        path: path::to_wire(&wait.path)?,
        state: wait.until,
        hierarchy: wait.hierarchy.name.clone(),
        timeout_ms: wait.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
    };
    let reply = wait_through_restarts(&call, wait.timeout, connector)?;
    if wait.quiet {
        // Only the exit status is wanted.
    } else if output.json {
        output.document(&reply)?;
    } else if reply.reached {
        let elapsed = text::duration(Duration::from_millis(reply.elapsed_ms));
        output.line(format!("{} after {elapsed}", wait.until))?;
        for line in text::results(&reply.result).into_iter().filter(|_| reply.result.present) {
            output.line(line)?;
        }
    } else {
        let timeout = text::duration(wait.timeout.unwrap_or_default());
        print(format!("cgtrace: timed out: not {} after {timeout}", wait.until));
    }
    Ok(if reply.reached { Outcome::Yes } else { Outcome::No })
}

/// The pause between two attempts to reach a daemon that is restarting.
const PAUSE: Duration = Duration::from_millis(100);

/// Waits, and asks again after a restart of the daemon. A state is of the present, so nothing is missed that
/// still holds when the new daemon answers.
fn wait_through_restarts(
    call: &wire::Wait,
    timeout: Option<Duration>,
    connector: &Connector,
) -> Result<wire::WaitReply, Failure> {
    let begun = Instant::now();
    let mut connected = connector.connect()?;
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        let timeout_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        match connected.client.wait_with(&wire::Wait { timeout_ms, ..call.clone() }) {
            Ok(mut reply) => {
                reply.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                return Ok(reply);
            }
            // A reply such as `LimitExceeded` is an answer; only a broken connection is re-established.
            Err(Error::Closed | Error::Io(_)) if !connected.in_process => {}
            Err(error) => return Err(error.into()),
        }
        print("cgtrace: the connection to the daemon was lost; reconnecting");
        connected.client = loop {
            match connector.daemon() {
                Ok(client) => break client,
                Err(error) if !error.is_transient() => return Err(error.into()),
                Err(error) if timeout.is_some_and(|timeout| begun.elapsed() >= timeout) => {
                    return Err(error.into());
                }
                Err(_) => thread::sleep(PAUSE),
            }
        };
        print("cgtrace: reconnected to the daemon");
    }
}
