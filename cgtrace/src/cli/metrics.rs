//! `metrics`: what is counted, as Prometheus reads it.

use super::{Verdict, connect::Connector, failure::Failure, output::Output};

pub fn run(connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let reply = connector.connect()?.client.metrics()?;
    if output.json {
        output.document(&reply)?;
    } else {
        output.write(reply.text.as_bytes())?;
    }
    Ok(Verdict::Yes)
}
