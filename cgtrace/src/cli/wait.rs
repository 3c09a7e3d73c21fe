//! `wait`: returns the moment a cgroup is in a state.

use std::time::Duration;

use cgtrace_client::wire;

use super::{
    Verdict, arguments::Wait, connect::Connector, failure::Failure, name, output::Output, say::say, text,
};

pub fn run(wait: &Wait, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let call = wire::Await {
        name: name::to_wire(&wait.name)?,
        until: wait.until.clone(),
        hierarchy: wait.on.hierarchy.clone(),
        timeout_ms: wait.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
    };
    let awaited = connector.connect()?.client.wait_for(&call)?;
    if wait.quiet {
        // The exit code says it all.
    } else if output.json {
        output.document(&awaited)?;
    } else if awaited.held {
        let waited = text::duration(Duration::from_millis(awaited.waited_ms));
        output.line(format!("{} after {waited}", wait.until))?;
        for line in text::rows(&awaited.answer).into_iter().filter(|_| awaited.answer.present) {
            output.line(line)?;
        }
    } else {
        let waited = text::duration(wait.timeout.unwrap_or_default());
        say(format!("cgtrace: timed out: not {} after {waited}", wait.until));
    }
    Ok(if awaited.held { Verdict::Yes } else { Verdict::No })
}
