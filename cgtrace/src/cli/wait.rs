//! `wait`: waits until a cgroup is in a state.

use std::time::Duration;

use cgtrace_client::wire;

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
    let reply = connector.connect()?.client.wait_with(&call)?;
    if wait.quiet {
        // Only the exit status is wanted.
    } else if output.json {
        output.document(&reply)?;
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
