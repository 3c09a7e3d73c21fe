//! Dispatches calls to methods.

use std::{io, pin::Pin, time::Instant};

use super::{history, introspection, list, log, lookup, metrics, removed, status, verify, wait, watch};
use crate::daemon::server::{
    failure::{CallError, ErrorReply},
    transport::{Connection, Request},
};

/// Answers one call. The client receives failures as error replies; a returned error closes the connection.
pub fn dispatch<'a>(
    connection: &'a mut Connection,
    request: &'a Request,
) -> Pin<Box<dyn Future<Output = io::Result<()>> + 'a>> {
    Box::pin(async move {
        let (began, unread_for) = (Instant::now(), connection.unread_for);
        match call(connection, request).await {
            Ok(()) => {}
            Err(CallError::Reply(failure)) => connection.fail(request, failure).await?,
            Err(CallError::Connection(error)) => return Err(error),
        }
        if let Some(method) = request.method.strip_prefix("io.cgtrace.") {
            let took = began.elapsed().saturating_sub(connection.unread_for.saturating_sub(unread_for));
            connection.shared.meter.record_request(method, took);
        }
        Ok(())
    })
}

async fn call(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    connection.shared.tracker.borrow_mut().refresh();
    match request.method.as_str() {
        "io.cgtrace.Lookup" => lookup::answer(connection, request).await,
        "io.cgtrace.Wait" => wait::answer(connection, request).await,
        "io.cgtrace.Watch" => watch::answer(connection, request).await,
        "io.cgtrace.List" => list::answer(connection, request).await,
        "io.cgtrace.History" => history::answer(connection, request).await,
        "io.cgtrace.Log" => log::answer(connection, request).await,
        "io.cgtrace.Removed" => removed::answer(connection, request).await,
        "io.cgtrace.Status" => status::answer(connection, request).await,
        "io.cgtrace.Metrics" => metrics::answer(connection, request).await,
        "io.cgtrace.Verify" => verify::answer(connection, request).await,
        "org.varlink.service.GetInfo" => connection.reply(request, &introspection::info()).await,
        "org.varlink.service.GetInterfaceDescription" => {
            let description = introspection::describe(&request.parameters()?)?;
            connection.reply(request, &description).await
        }
        other => Err(match other.rsplit_once('.') {
            Some(("io.cgtrace" | "org.varlink.service", _)) => ErrorReply::method_not_found(other),
            Some((interface, _)) => ErrorReply::interface_not_found(interface),
            None => ErrorReply::interface_not_found(other),
        }
        .into()),
    }
}
