//! `List`: the cgroups that exist now.

use cgtrace_client::wire;

use super::{at, snapshot::Snapshot, watch};
use crate::daemon::server::{
    failure::CallError,
    transport::{Connection, Request},
};

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::List { patterns, hierarchy, at } = request.parameters()?;
    if let Some(at) = at {
        return at::list(connection, request, &patterns.unwrap_or_default(), hierarchy.as_deref(), &at).await;
    }
    connection.settled().await?;
    let patterns = watch::patterns(connection, &patterns.unwrap_or_default()).await?;
    let _counted = watch::count_patterns(connection, patterns.size())?;
    let selected = connection.shared.hierarchy(hierarchy.as_deref())?;
    let selects = |id| selected.is_none_or(|selected| selected == id);
    let snapshot = Snapshot::take(connection, &patterns, selects).await?;
    if request.oneway {
        return Ok(());
    }
    let head = format!("\"seq\":{},\"cgroups\"", snapshot.seq);
    snapshot.send(connection, &head, request.more, true).await
}
