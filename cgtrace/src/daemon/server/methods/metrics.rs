//! `Metrics`: the metrics as text.

use cgtrace_client::wire;

use super::super::{
    failure::CallError,
    metrics,
    transport::{Connection, Request},
};

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    connection.settled().await?;
    let text = metrics::encode(&connection.shared);
    connection.reply(request, &wire::MetricsReply { text }).await
}
