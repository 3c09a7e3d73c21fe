//! `verify`: compares the index with the cgroup file systems.

use std::thread;

use cgtrace_client::wire::VerifyReply;

use super::{Outcome, arguments::Verify, connect::Connector, failure::Failure, output::Output, text};

pub fn run(verify: &Verify, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let mut client = connector.connect()?.client;
    loop {
        let reply = client.verify()?;
        output.result(&reply, || lines(&reply))?;
        if !reply.equal {
            return Ok(Outcome::No);
        }
        let Some(interval) = verify.interval else { return Ok(Outcome::Yes) };
        output.flush()?;
        thread::sleep(interval);
    }
}

fn lines(reply: &VerifyReply) -> Vec<String> {
    let VerifyReply { equal, compared, unreadable, differences } = reply;
    let mut lines = Vec::new();
    if *equal {
        lines.push(format!("equal: {compared} cgroups compared"));
    } else {
        lines.push(format!("{} differences in {compared} cgroups", differences.len()));
    }
    for difference in differences {
        let path = text::path(difference.path.as_deref(), difference.path_hex.as_deref());
        lines.push(format!(
            "{} {} id {}: index: {}, file system: {}",
            text::hierarchy(&difference.hierarchy),
            path,
            difference.id,
            text::escape(&difference.index),
            text::escape(&difference.filesystem),
        ));
    }
    lines.extend(unreadable.iter().map(|unreadable| format!("not compared: {}", text::escape(unreadable))));
    lines
}
