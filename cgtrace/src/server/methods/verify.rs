//! `Verify`: the index against every cgroupfs.

use std::{collections::HashSet, io, rc::Rc, time::Duration};

use cgtrace_client::{names, wire};

use super::super::{
    connection::{Connection, Request},
    encode::hierarchy_name,
    failure::Failure,
    shared::Shared,
};
use crate::{
    index::Key,
    tracker::{Belief, Difference, Verified},
};

/// How often a comparison that was spoilt by a loss, or found a difference, is made again.
const TRIES: u32 = 5;

/// The pause before a difference is looked for again.
const PAUSE: Duration = Duration::from_millis(300);

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    let shared = Rc::clone(&connection.shared);
    match verify(&shared).await {
        Ok(verified) => {
            let reply = encode(&shared, verified);
            connection.reply(request, &reply).await?;
            Ok(Ok(()))
        }
        Err(failure) => Ok(Err(failure)),
    }
}

/// A difference counts once two comparisons, a pause apart, have found it: rmdir(2) takes the directory away before
/// its tracepoint fires (`cgroup_rmdir`), and on a busy machine the task may wait for a CPU in between.
async fn verify(shared: &Shared) -> Result<Verified, Failure> {
    let mut suspects: Option<HashSet<Key>> = None;
    for _ in 0..TRIES {
        shared.settled().await?;
        let job = shared.tracker.borrow_mut().begin_verify();
        let walked = tokio::task::spawn_blocking(move || job.run()).await;
        let walked = walked.map_err(|error| Failure::unavailable(&error.to_string()))?;
        shared.settled().await?;
        let Some(mut verified) = shared.tracker.borrow_mut().end_verify(walked) else {
            suspects = None;
            continue;
        };
        if verified.differences.is_empty() {
            return Ok(verified);
        }
        let found: HashSet<Key> = verified.differences.iter().map(|difference| difference.key).collect();
        if let Some(suspects) = suspects.replace(found) {
            verified.differences.retain(|difference| suspects.contains(&difference.key));
            return Ok(verified);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(Failure::unavailable(
        "records were lost, or hierarchies came and went, during every comparison; ask again",
    ))
}

fn encode(shared: &Shared, Verified { compared, unread, differences }: Verified) -> wire::VerifyReply {
    let tracker = shared.tracker.borrow();
    let differences: Vec<wire::Difference> = differences
        .into_iter()
        .map(|Difference { key, path, index, filesystem }| {
            let state = tracker.index().hierarchies().find(|state| state.id == key.hierarchy);
            let (path, path_hex) = path.as_deref().map_or((None, None), |path| {
                let (text, digits) = names::as_text(path);
                (Some(text), digits)
            });
            wire::Difference {
                hierarchy: state.map_or_else(String::new, |state| hierarchy_name(&state)),
                hierarchy_id: key.hierarchy.0,
                id: key.id.0,
                path,
                path_hex,
                index: belief(&index),
                filesystem: belief(&filesystem),
            }
        })
        .collect();
    wire::VerifyReply { equal: differences.is_empty(), compared, unread, differences }
}

fn belief(belief: &Belief) -> String {
    match belief {
        Belief::Absent => "absent".to_owned(),
        Belief::Present { parent, leaf } => {
            format!("present as `{}` in cgroup {}", names::printable(leaf), parent.0)
        }
    }
}
