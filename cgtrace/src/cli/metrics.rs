//! `metrics`: prints metrics in the Prometheus text format.

use super::{Outcome, connect::Connector, failure::Failure, output::Output};

pub fn run(connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let reply = connector.connect()?.client.metrics()?;
    if output.json {
        output.document(&reply)?;
    } else {
        output.write(reply.text.as_bytes())?;
    }
    Ok(Outcome::Yes)
}
