//! `wait`: returns the moment a cgroup is in a state.

use std::time::Duration;

use cgtrace_client::wire;

use super::{
    Verdict, arguments::Wait, connect::Connector, failure::Failure, name, output::Output, stderr::print, text,
};

pub fn run(wait: &Wait, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let call = wire::Wait {
        path: name::to_wire(&wait.name)?,
        state: wait.until,
        hierarchy: wait.on.hierarchy.clone(),
        timeout_ms: wait.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
    };
    let awaited = connector.connect()?.client.wait_with(&call)?;
    if wait.quiet {
        // The exit code says it all.
    } else if output.json {
        output.document(&awaited)?;
    } else if awaited.reached {
        let waited = text::duration(Duration::from_millis(awaited.elapsed_ms));
        output.line(format!("{} after {waited}", wait.until))?;
        for line in text::results(&awaited.result).into_iter().filter(|_| awaited.result.present) {
            output.line(line)?;
        }
    } else {
        let waited = text::duration(wait.timeout.unwrap_or_default());
        print(format!("cgtrace: timed out: not {} after {waited}", wait.until));
    }
    Ok(if awaited.reached { Verdict::Yes } else { Verdict::No })
}
