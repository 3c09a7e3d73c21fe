//! `verify`: the index against every cgroupfs.

use std::thread;

use cgtrace_client::wire::VerifyReply;

use super::{Verdict, arguments::Verify, connect::Connector, failure::Failure, output::Output, text};

pub fn run(verify: &Verify, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let mut client = connector.connect()?.client;
    loop {
        let reply = client.verify()?;
        output.answer(&reply, || lines(&reply))?;
        if !reply.equal {
            return Ok(Verdict::No);
        }
        let Some(pause) = verify.interval else { return Ok(Verdict::Yes) };
        output.flush()?;
        thread::sleep(pause);
    }
}

fn lines(reply: &VerifyReply) -> Vec<String> {
    let VerifyReply { equal, compared, unreadable: unread, differences } = reply;
    let mut lines = Vec::new();
    if *equal {
        lines.push(format!("equal: {compared} cgroups compared"));
    } else {
        lines.push(format!("{} differences among {compared} cgroups", differences.len()));
    }
    for difference in differences {
        let path = text::path(difference.path.as_deref(), difference.path_hex.as_deref());
        lines.push(format!(
            "{} {} id {}: the index says {}, the file system says {}",
            text::hierarchy(&difference.hierarchy),
            path,
            difference.id,
            text::escape(&difference.index),
            text::escape(&difference.filesystem),
        ));
    }
    lines.extend(unread.iter().map(|unread| format!("not compared: {}", text::escape(unread))));
    lines
}
