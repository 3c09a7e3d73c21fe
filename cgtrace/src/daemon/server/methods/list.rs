//! `List`: what exists now.

use cgtrace_client::wire;

use super::{snapshot::Snapshot, watch};
use crate::daemon::server::{
    failure::CallError,
    transport::{Connection, Request},
};

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::List { patterns, hierarchy } = request.parameters()?;
    connection.settled().await?;
    let patterns = watch::patterns(connection, &patterns.unwrap_or_default()).await?;
    let _counted = watch::count_patterns(connection, patterns.size())?;
    let wanted = connection.shared.hierarchy(hierarchy.as_deref())?;
    let wants = |id| wanted.is_none_or(|wanted| wanted == id);
    let snapshot = Snapshot::take(connection, &patterns, wants).await?;
    if request.oneway {
        return Ok(());
    }
    let head = format!("\"seq\":{},\"cgroups\"", snapshot.seq);
    snapshot.send(connection, &head, request.more, true).await
}
