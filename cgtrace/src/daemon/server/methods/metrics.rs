//! `Metrics`: what is counted, as text.

use std::io;

use cgtrace_client::wire;

use super::super::{
    connection::{Connection, Request},
    failure::Failure,
    metrics,
};

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    if let Err(failure) = connection.shared.settled().await {
        return Ok(Err(failure));
    }
    connection.pace.begin_heavy();
    let text = metrics::encode(&connection.shared);
    connection.reply(request, &wire::MetricsReply { text }).await?;
    Ok(Ok(()))
}
