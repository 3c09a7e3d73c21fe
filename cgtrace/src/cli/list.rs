//! `list`: what exists now.

use cgtrace_client::wire;

use super::{
    Verdict, arguments::List, connect::Connector, failure::Failure, name, output::Output, stderr::print, text,
};

pub fn run(list: &List, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let call = wire::List { patterns: name::patterns(&list.patterns), hierarchy: list.on.hierarchy.clone() };
    let mut client = connector.connect()?.client;
    let mut listed = client.list(&call)?;
    if output.json {
        let cgroups = listed.by_ref().collect::<Result<Vec<_>, _>>()?;
        output.document(&wire::ListReply { seq: listed.seq(), cgroups })?;
        return Ok(Verdict::Yes);
    }
    let mut none = true;
    for cgroup in listed {
        none = false;
        output.line(text::cgroup(&cgroup?))?;
    }
    if none {
        print(
            "cgtrace: no cgroup matches; a pattern is held against whole names: `/**/NAME` finds NAME anywhere",
        );
    }
    Ok(Verdict::Yes)
}
