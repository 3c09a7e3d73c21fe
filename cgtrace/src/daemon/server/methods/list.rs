//! `List`: what exists now.

use std::{io, rc::Rc};

use cgtrace_client::wire;

use super::{
    super::{
        connection::{Connection, Request},
        failure::Failure,
        pattern::Patterns,
        snapshot::{BATCH, Snapshot},
    },
    follow, pieces,
};
use crate::daemon::index::HierarchyId;

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    let shared = Rc::clone(&connection.shared);
    let fit = follow::few_enough(&shared);
    let list = connection.parameters(request, move |list: &wire::List| fit(list.patterns.as_deref())).await;
    let list = match list {
        Ok(list) => list,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Err(failure) = shared.settled().await {
        return Ok(Err(failure));
    }
    connection.pace.begin();
    let (patterns, wanted) = match asked(connection, list).await {
        Ok(asked) => asked,
        Err(failure) => return Ok(Err(failure)),
    };
    let snapshot = Snapshot::take(connection, &patterns, |id| wanted.is_none_or(|wanted| wanted == id)).await;
    let held = shared.hold(snapshot.bytes());
    if request.oneway {
        return Ok(Ok(()));
    }
    tell(connection, snapshot, if request.more { BATCH } else { usize::MAX }).await?;
    drop(held);
    Ok(Ok(()))
}

async fn asked(
    connection: &mut Connection,
    list: wire::List,
) -> Result<(Patterns, Option<HierarchyId>), Failure> {
    let patterns = follow::patterns(connection, list.patterns).await?;
    let wanted = connection.shared.hierarchy(list.hierarchy.as_deref())?;
    connection.shared.room_for_reply()?;
    Ok((patterns, wanted))
}

/// Replies with so many cgroups each.
async fn tell(connection: &mut Connection, mut snapshot: Snapshot, most: usize) -> io::Result<()> {
    let head = format!("\"seq\":{},\"cgroups\"", snapshot.seq);
    loop {
        let cgroups = std::iter::from_fn(|| snapshot.next()).take(most);
        let list = pieces::list(connection, &head, cgroups).await?;
        let more = snapshot.left() > 0;
        connection.write(&pieces::reply(list, more)).await?;
        if !more {
            return Ok(());
        }
    }
}
