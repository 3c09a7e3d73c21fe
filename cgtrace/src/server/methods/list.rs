//! `List`: what exists now.

use std::{io, rc::Rc};

use bytes::Bytes;
use cgtrace_client::wire;

use super::{
    super::{
        access::Access,
        connection::{Connection, Request},
        encode::hierarchy_name,
        failure::Failure,
        hub::encode_reply,
        shared::Shared,
    },
    follow,
};

/// So many cgroups stand in one reply.
const BATCH: usize = 500;

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    let shared = Rc::clone(&connection.shared);
    let list: wire::List = match request.parameters() {
        Ok(list) => list,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Err(failure) = shared.settled().await {
        return Ok(Err(failure));
    }
    // One moment's list: it is put together before the first byte is written.
    let replies = match replies(&shared, connection.access, &list, request.more) {
        Ok(replies) => replies,
        Err(failure) => return Ok(Err(failure)),
    };
    for reply in replies.into_iter().filter(|_| !request.oneway) {
        connection.write(&reply).await?;
    }
    Ok(Ok(()))
}

fn replies(shared: &Shared, access: Access, list: &wire::List, more: bool) -> Result<Vec<Bytes>, Failure> {
    let patterns = follow::patterns(shared, list.patterns.as_deref())?;
    let wanted = shared.hierarchy(list.hierarchy.as_deref())?;
    let encoder = shared.encoder(access);
    let tracker = shared.tracker.borrow();
    let index = tracker.index();
    let seq = index.seq();
    let mut replies = Vec::new();
    let mut cgroups = Vec::new();
    for state in index.hierarchies().filter(|state| wanted.is_none_or(|wanted| wanted == state.id)) {
        let name = hierarchy_name(&state);
        let Some(root) = index.resolve(state.id, b"/") else { continue };
        let mut subtree = index.subtree(root);
        while let Some((key, _)) = subtree.next() {
            if !patterns.matches(subtree.path()) {
                continue;
            }
            if cgroups.len() == BATCH && more {
                let cgroups = std::mem::take(&mut cgroups);
                replies.push(encode_reply(&wire::ListReply { seq, cgroups }, true));
            }
            cgroups.extend(encoder.cgroup(index, &name, key, subtree.path()));
        }
    }
    replies.push(encode_reply(&wire::ListReply { seq, cgroups }, false));
    Ok(replies)
}
