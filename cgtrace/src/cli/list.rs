//! `list`: lists cgroups.

use cgtrace_client::wire;

use super::{
    Outcome, arguments::List, connect::Connector, failure::Failure, output::Output, path, stderr::print, text,
};

pub fn run(list: &List, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let call = wire::List {
        patterns: path::patterns(&list.patterns),
        hierarchy: list.hierarchy.name.clone(),
        ..wire::List::default()
    };
    let mut client = connector.connect()?.client;
    let mut cgroups = client.list(&call)?;
    if output.json {
        let all = cgroups.by_ref().collect::<Result<Vec<_>, _>>()?;
        output.document(&wire::ListReply {
            seq: cgroups.seq(),
            cgroups: all,
            ..wire::ListReply::default()
        })?;
        return Ok(Outcome::Yes);
    }
    let mut empty = true;
    for cgroup in cgroups {
        empty = false;
        output.line(text::cgroup(&cgroup?))?;
    }
    if empty {
        print(
            "cgtrace: no cgroup matches; patterns match whole paths: use `/**/NAME` to find NAME at any depth",
        );
    }
    Ok(Outcome::Yes)
}
