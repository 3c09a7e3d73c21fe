//! `why`: why a cgroup is not there, or not seen, and what to do.

use std::os::unix::ffi::OsStrExt as _;

use anyhow::anyhow;
use cgtrace_client::{names, wire};

use super::{Verdict, arguments::Why, connect::Connector, failure::Failure, output::Output, say::say, text};

pub fn run(why: &Why, connector: &Connector, output: &mut Output) -> Result<Verdict, Failure> {
    let process = match (&why.process, why.kubelet) {
        (Some(comm), _) => Some(names::as_text(comm.as_bytes()).0),
        (None, true) if why.pid.is_none() => Some("kubelet".to_owned()),
        (None, _) => None,
    };
    let asker = wire::AskerName { pid: why.pid, process };
    let question = wire::Why {
        name: why.name.as_ref().map(|name| names::to_wire(name.as_bytes())),
        hierarchy: why.on.hierarchy.clone(),
        asker: (asker != wire::AskerName::default()).then_some(asker),
    };
    let connected = connector.connect()?;
    let mut client = connected.client;
    let reply = client.why(&question)?;
    let seen = !reply.verdicts.is_empty() && reply.verdicts.iter().all(|verdict| verdict.seen);
    if output.json {
        output.document(&reply)?;
    } else if reply.verdicts.is_empty() {
        return Err(Failure::Unknown(anyhow!(
            "nothing to ask about: {}; name the cgroup (cgtrace why /system.slice/kubelet.service), or the process that \
             looks for it (--pid PID)",
            reply.notes.join("; ")
        )));
    } else {
        for line in text::why(&reply) {
            output.line(line)?;
        }
        if connected.in_process && !seen {
            say(
                "cgtrace: no daemon runs, so that nothing is known of what was before this moment; start one: sudo cgtrace daemon",
            );
        }
    }
    Ok(if seen { Verdict::Yes } else { Verdict::No })
}
