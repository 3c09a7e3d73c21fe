//! One file a method.

mod follow;
mod history;
mod list;
mod lookup;
mod metrics;
mod pieces;
mod status;
mod verify;
mod wait;

use std::{io, time::Instant};

use super::{
    connection::{Connection, Request},
    failure::Failure,
    introspection,
};

/// Answers one call. An error ends the connection; what the caller did wrong is told it instead.
pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<()> {
    let (began, unread_for) = (Instant::now(), connection.unread_for);
    let outcome = match request.method.as_str() {
        "io.cgtrace.Lookup" => lookup::answer(connection, request).await?,
        "io.cgtrace.Await" => wait::answer(connection, request).await?,
        "io.cgtrace.Watch" => follow::answer(connection, request).await?,
        "io.cgtrace.List" => list::answer(connection, request).await?,
        "io.cgtrace.History" => history::answer(connection, request).await?,
        "io.cgtrace.Status" => status::answer(connection, request).await?,
        "io.cgtrace.Metrics" => metrics::answer(connection, request).await?,
        "io.cgtrace.Verify" => verify::answer(connection, request).await?,
        "org.varlink.service.GetInfo" => {
            connection.reply(request, &introspection::info()).await?;
            Ok(())
        }
        "org.varlink.service.GetInterfaceDescription" => {
            match request.parameters().and_then(|wanted| introspection::describe(&wanted)) {
                Ok(description) => {
                    connection.reply(request, &description).await?;
                    Ok(())
                }
                Err(failure) => Err(failure),
            }
        }
        other => Err(match other.rsplit_once('.') {
            Some(("io.cgtrace" | "org.varlink.service", _)) => Failure::method_not_found(other),
            Some((interface, _)) => Failure::interface_not_found(interface),
            None => Failure::interface_not_found(other),
        }),
    };
    if let Err(failure) = outcome {
        connection.fail(request, failure).await?;
    }
    let took = began.elapsed().saturating_sub(connection.unread_for.saturating_sub(unread_for));
    if let Some(method) = request.method.strip_prefix("io.cgtrace.") {
        connection.shared.meter.answered(method, took);
    }
    connection.shared.answered.set(connection.shared.answered.get() + 1);
    connection.pace.answered();
    Ok(())
}
