//! `Verify`: compares the index with every cgroupfs.

use std::{collections::HashSet, rc::Rc, time::Duration};

use cgtrace_client::{paths, wire};

use super::super::{
    class::SocketClass,
    encode::hierarchy_name,
    failure::{CallError, ErrorReply},
    shared::Shared,
    transport::{Connection, Request},
};
use crate::daemon::{
    index::{Key, Scanned},
    tracker::{Difference, Priority, VerifyReport, VerifyScan},
};

/// How often to compare if losses or mounts invalidate the comparison.
const TRIES: u32 = 5;

/// Number of cgroups after which other tasks may run.
const CHUNK: usize = 16;

/// The pauses before a difference is checked again.
const PAUSES: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    if connection.class == SocketClass::Public {
        let reason = "Verify reads every cgroupfs and needs the private socket; run as root or as a member of the group \
                      cgtrace";
        return Err(ErrorReply::not_permitted(reason).into());
    }
    let shared = Rc::clone(&connection.shared);
    connection.end_turn();
    let one = tokio::select! {
        one = shared.socket(connection.class).scan.acquire() => one,
        () = connection.disconnected() => return Ok(()),
    };
    let verified = verify(connection).await?;
    drop(one);
    let reply = encode(&shared, verified);
    connection.reply(request, &reply).await
}

/// Reports a difference only if repeated comparisons, with pauses between them, all find it: rmdir(2) removes
/// the directory before its tracepoint fires (`cgroup_rmdir`), and on a busy machine the task may wait for a
/// CPU in between.
async fn verify(connection: &mut Connection) -> Result<VerifyReport, ErrorReply> {
    let mut verified = compare(connection).await?;
    for pause in PAUSES {
        if verified.differences.is_empty() {
            break;
        }
        connection.end_turn();
        tokio::time::sleep(pause).await;
        let suspects: HashSet<Key> = verified.differences.iter().map(|difference| difference.key).collect();
        verified = compare(connection).await?;
        verified.differences.retain(|difference| suspects.contains(&difference.key));
    }
    for difference in &verified.differences {
        connection.shared.tracker.borrow_mut().resync(difference.key.hierarchy);
    }
    Ok(verified)
}

/// Makes one valid comparison.
async fn compare(connection: &mut Connection) -> Result<VerifyReport, ErrorReply> {
    let shared = Rc::clone(&connection.shared);
    for _ in 0..TRIES {
        connection.settled().await?;
        let (mut verification, job) = shared.tracker.borrow_mut().begin_verify();
        let scan = shared.scans.run(Priority::Client, u64::MAX, move |budget| VerifyScan::run(job, budget));
        connection.end_turn();
        let scan = tokio::select! {
            scan = scan => scan.map_err(|error| ErrorReply::unavailable(&error.to_string()))?,
            () = connection.disconnected() => return Err(ErrorReply::unavailable("the client disconnected")),
        };
        connection.settled().await?;
        shared.tracker.borrow_mut().compare(&mut verification, scan);
        while !verification.proceed(shared.tracker.borrow().index(), CHUNK) {
            connection.yield_turn().await;
        }
        if let Some(verified) = shared.tracker.borrow_mut().end_verify(verification) {
            return Ok(verified);
        }
    }
    Err(ErrorReply::unavailable("records were lost or hierarchies changed during every comparison; retry"))
}

fn encode(
    shared: &Shared,
    VerifyReport { compared, unreadable, differences }: VerifyReport,
) -> wire::VerifyReply {
    let tracker = shared.tracker.borrow();
    let differences: Vec<wire::Difference> = differences
        .into_iter()
        .map(|Difference { key, path, index, filesystem }| {
            let state = tracker.index().hierarchies().find(|state| state.id == key.hierarchy);
            let (path, path_hex) = path.as_deref().map_or((None, None), |path| {
                let (text, hex) = paths::as_text(path);
                (Some(text), hex)
            });
            wire::Difference {
                hierarchy: state.map_or_else(String::new, |state| hierarchy_name(&state)),
                hierarchy_id: key.hierarchy.0,
                id: key.id.0,
                path,
                path_hex,
                index: state_of(index.as_ref()),
                filesystem: state_of(filesystem.as_ref()),
            }
        })
        .collect();
    wire::VerifyReply { equal: differences.is_empty(), compared, unreadable, differences }
}

fn state_of(cgroup: Option<&Scanned>) -> String {
    cgroup.map_or_else(
        || "absent".to_owned(),
        |Scanned { parent, leaf, .. }| format!("present as `{}` in cgroup {}", paths::escape(leaf), parent.0),
    )
}
