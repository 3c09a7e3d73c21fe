//! `List`: what exists now.

use std::{io, rc::Rc};

use cgtrace_client::wire;

use super::{
    super::{
        connection::{Connection, Request},
        failure::Failure,
        hub::encode_reply,
        snapshot::Snapshot,
    },
    follow,
};

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    let shared = Rc::clone(&connection.shared);
    let list: wire::List = match request.parameters() {
        Ok(list) => list,
        Err(failure) => return Ok(Err(failure)),
    };
    if let Err(failure) = shared.settled().await {
        return Ok(Err(failure));
    }
    connection.pace.begin();
    let snapshot = (|| {
        let patterns = follow::patterns(&shared, list.patterns.as_deref())?;
        let wanted = shared.hierarchy(list.hierarchy.as_deref())?;
        shared.room_for_reply()?;
        let encoder = shared.encoder(connection.access);
        Ok(Snapshot::take(&shared, encoder, &patterns, |id| wanted.is_none_or(|wanted| wanted == id)))
    })();
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(failure) => return Ok(Err(failure)),
    };
    let held = shared.hold(snapshot.bytes());
    if request.oneway {
        return Ok(Ok(()));
    }
    if request.more {
        pieces(connection, snapshot).await?;
    } else {
        whole(connection, snapshot).await?;
    }
    drop(held);
    Ok(Ok(()))
}

/// Many replies.
async fn pieces(connection: &mut Connection, mut snapshot: Snapshot) -> io::Result<()> {
    let seq = snapshot.seq;
    loop {
        let (cgroups, more) = snapshot.next_batch();
        let reply = encode_reply(&wire::ListReply { seq, cgroups }, more);
        connection.write(&reply).await?;
        if !more {
            return Ok(());
        }
        connection.pace().await;
    }
}

/// One reply, put together piece by piece.
async fn whole(connection: &mut Connection, mut snapshot: Snapshot) -> io::Result<()> {
    let mut reply = format!("{{\"parameters\":{{\"seq\":{},\"cgroups\":[", snapshot.seq).into_bytes();
    let mut first = true;
    loop {
        let (cgroups, more) = snapshot.next_batch();
        for cgroup in cgroups {
            if !first {
                reply.push(b',');
            }
            first = false;
            serde_json::to_writer(&mut reply, &cgroup).map_err(io::Error::other)?;
        }
        if !more {
            break;
        }
        connection.pace().await;
    }
    reply.extend_from_slice(b"]}}\0");
    connection.write(&reply).await
}
