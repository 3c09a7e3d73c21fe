//! `Removed`: the cgroups that were removed.

use std::rc::Rc;

use cgtrace_client::wire;
use cgtrace_history::{Error, Hierarchies, Horizon, Reader};

use super::{at, past::hierarchies_of, reply::LongReply, watch};
use crate::{
    daemon::server::{
        failure::CallError,
        transport::{Connection, Request},
    },
    stored::StoredEncoder,
};

/// How many cgroups are returned at most, also if the call asks for more.
const MAX_REMOVED: u64 = 10_000;

/// Number of cgroups that are encoded without yielding to other tasks.
const CHUNK: usize = 32;

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let wire::Removed { patterns, hierarchy, since, until, max } = request.parameters()?;
    let since = since.as_deref().map(at::parse).transpose()?.unwrap_or(i64::MIN);
    let until = until.as_deref().map(at::parse).transpose()?.unwrap_or(i64::MAX);
    connection.settled().await?;
    let patterns = watch::patterns(connection, &patterns.unwrap_or_default()).await?;
    let _patterns = watch::count_patterns(connection, patterns.size())?;
    let shared = Rc::clone(&connection.shared);
    connection.end_turn();
    let _large = shared.socket(connection.class).large.acquire().await;
    let max = usize::try_from(max.unwrap_or(MAX_REMOVED).min(MAX_REMOVED)).unwrap_or(usize::MAX);
    let (seq, (found, horizon)) = connection
        .ask(|connection| {
            let tracker = connection.shared.tracker.borrow();
            let index = tracker.index();
            let on = match &hierarchy {
                Some(name) => index
                    .find_hierarchy(name)
                    .map_or_else(|| Hierarchies::Named(name.clone()), |id| hierarchies_of(index, id)),
                None => Hierarchies::All,
            };
            let question = move |reader: &mut Reader<'_>| -> Result<(_, Option<Horizon>), Error> {
                let mut matches = |path: Option<&[u8]>| patterns.matches(path).unwrap_or(false);
                Ok((reader.removed(since, until, &on, &mut matches, max)?, reader.horizon()?))
            };
            (index.seq(), question)
        })
        .await?;
    let identities = connection.class.shows_identities();
    let stored = StoredEncoder { current_boot: Some(shared.history.boot_id()), identities };
    let mut reply = LongReply::begin(connection, &format!("\"seq\":{seq},\"removed\""))?;
    for (number, instance) in found.iter().enumerate() {
        reply.push(connection, &stored.removed(instance))?;
        if number % CHUNK == 0 {
            connection.yield_turn().await;
        }
    }
    let complete_since = horizon.map(|horizon| StoredEncoder::timestamp(&horizon.since));
    let after = complete_since.and_then(|since| serde_json::to_string(&since).ok());
    let after = after.map(|since| format!(",\"complete_since\":{since}")).unwrap_or_default();
    if request.oneway { Ok(()) } else { reply.send_with(connection, &after, false).await }
}
