//! `Removed`: the cgroups that were removed.

use std::{rc::Rc, sync::Arc};

use cgtrace_client::wire;
use cgtrace_history::{Error, Horizon, Reader, RemovedPage, RemovedQuery};

use super::{at, reply::LongReply, watch};
use crate::{
    daemon::server::{
        events::TooCostly,
        failure::{CallError, ErrorReply},
        transport::{Connection, Request},
    },
    stored::StoredEncoder,
};

/// How many cgroups are returned at most, also if the call asks for more.
const MAX_REMOVED: u64 = 10_000;

/// How many of them are read at once: each is completed by several lookups.
const MAX_OF_PAGE: usize = 512;

/// How many steps the history thread takes to match one page's paths, of about 2 ns each. The others are
/// matched afterwards.
const PAGE_STEPS: usize = 4 << 20;

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
    let mut left = usize::try_from(max.unwrap_or(MAX_REMOVED).min(MAX_REMOVED)).unwrap_or(usize::MAX);
    let patterns = Arc::new(patterns);
    connection.settled().await?;
    let seq = shared.tracker.borrow().index().seq();
    // What is removed later is left out of every page.
    let now = shared.tracker.borrow().anchor().wall_ns(cgtrace_host::clock::boot_ns());
    let mut query = RemovedQuery {
        since_wall_ns: since,
        until_wall_ns: until.min(i64::try_from(now).unwrap_or(i64::MAX)),
        hierarchies: at::selected(connection, hierarchy.as_deref()),
        ..RemovedQuery::default()
    };
    let identities = connection.class.shows_identities();
    let stored = StoredEncoder { current_boot: Some(shared.history.boot_id()), identities };
    let mut reply = LongReply::begin(connection, &format!("\"seq\":{seq},\"removed\""))?;
    let horizon = loop {
        query.max = left.min(MAX_OF_PAGE);
        let (asked, selected) = (query.clone(), Arc::clone(&patterns));
        let question = move |reader: &mut Reader<'_>| -> Result<(RemovedPage, Option<Horizon>), Error> {
            let mut steps = PAGE_STEPS;
            let mut matches = |path: Option<&[u8]>| selected.may_match(path, &mut steps);
            let page = match asked.max {
                0 => RemovedPage::default(),
                _ => reader.removed(&asked, &mut matches)?,
            };
            Ok((page, reader.horizon()?))
        };
        let ((), (RemovedPage { instances, next }, horizon)) = connection.ask(|_| ((), question)).await?;
        for (number, instance) in instances.iter().enumerate() {
            let matches = patterns.matches(instance.cgroup.path.as_deref()).map_err(|TooCostly| {
                ErrorReply::unavailable("the patterns take too long to match; use fewer or simpler ones")
            })?;
            if matches {
                left -= 1;
                reply.push(connection, &stored.removed(instance))?;
            }
            if number % CHUNK == 0 {
                connection.yield_turn().await;
            }
        }
        query.after = next;
        if next.is_none() || left == 0 {
            break horizon;
        }
    };
    let complete_since = horizon.map(|horizon| StoredEncoder::timestamp(&horizon.since));
    let after = complete_since.and_then(|since| serde_json::to_string(&since).ok());
    let after = after.map(|since| format!(",\"complete_since\":{since}")).unwrap_or_default();
    if request.oneway { Ok(()) } else { reply.send_with(connection, &after, false).await }
}
