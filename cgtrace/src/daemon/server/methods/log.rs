//! `Log`: stored events.

use std::{collections::BTreeSet, rc::Rc, sync::Arc};

use cgtrace_client::wire;
use cgtrace_history::{Boot, EventQuery, Item, KindSet, Page, Reader, StoredEvent};

use super::{at, reply::LongReply, reported::Reported, watch};
use crate::{
    daemon::{
        index::Kind,
        server::{
            events::{Patterns, TooCostly},
            failure::{CallError, ErrorReply},
            transport::{Connection, Request},
        },
    },
    stored::{StoredEncoder, comm},
};

/// Number of events that are encoded without yielding to other tasks.
const CHUNK: usize = 32;

/// How many events the history thread reads for one page: about 20 ms of its time.
const PAGE_ROWS: usize = 4_096;

/// What a call selects beyond what the history selects by itself.
struct Selection {
    patterns: Patterns,
    hierarchies: BTreeSet<String>,
    boot: Option<Arc<str>>,
    by: Option<String>,
}

impl Selection {
    fn matches(&self, event: &StoredEvent) -> Result<bool, TooCostly> {
        let is_of_boot = self.boot.as_ref().is_none_or(|boot| *boot == event.at.boot_id);
        let named = event.cgroup.as_ref().and_then(|cgroup| cgroup.hierarchy_name.as_deref());
        let is_on = self.hierarchies.is_empty() || named.is_some_and(|name| self.hierarchies.contains(name));
        let is_by = self.by.as_ref().is_none_or(|by| is_by(event, by));
        if !is_of_boot || !is_on || !is_by {
            return Ok(false);
        }
        let matches = |path: Option<&[u8]>| self.patterns.matches(path);
        match (&event.cgroup, &event.from) {
            // A rename concerns both paths, a move both cgroups.
            (Some(cgroup), Some(from)) => {
                Ok(matches(cgroup.path.as_deref())? || matches(from.path.as_deref())?)
            }
            (Some(cgroup), None) => matches(cgroup.path.as_deref()),
            // It is about the log itself.
            (None, _) => Ok(self.by.is_none()),
        }
    }
}

/// Whether a process caused an event: by its pid or its comm. A process causes its own exec.
fn is_by(event: &StoredEvent, by: &str) -> bool {
    let task = match event.kind {
        Kind::Exec => event.task.as_ref(),
        _ => event.by.as_ref(),
    };
    task.is_some_and(|task| comm(&task.task.comm) == by || by.parse() == Ok(task.task.pid))
}

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let log: wire::Log = request.parameters()?;
    let identities = connection.class.shows_identities();
    if log.by.is_some() && !identities {
        let reason = "the public socket shows no identities, and cannot select by them";
        return Err(ErrorReply::not_permitted(reason).into());
    }
    let (mut query, selection) = read(connection, &log).await?;
    let boot_id = Rc::clone(&connection.shared).history.boot_id().clone();
    let stored = StoredEncoder { current_boot: Some(&boot_id), identities };
    let mut left = log.max.unwrap_or(u64::MAX);
    let mut reply = LongReply::begin(connection, "\"items\"")?;
    let (mut last_seq, mut gaps) = (None, Reported::default());
    loop {
        let asked = query.clone();
        let question = move |reader: &mut Reader<'_>| reader.events(&asked, &mut |_| true);
        let (now, Page { items, next, .. }) =
            connection.ask(|connection| (connection.shared.tracker.borrow().index().seq(), question)).await?;
        // What comes later is left to a subscription after this number.
        let last_seq = *last_seq.get_or_insert(now);
        query.until_seq = query.until_seq.min(last_seq);
        let mut over = next.is_none() || left == 0;
        for (number, item) in items.into_iter().enumerate() {
            match item {
                _ if left == 0 => over = true,
                Item::Event(event) if event.seq > last_seq => {}
                Item::Event(event) => {
                    let matches = selection.matches(&event).map_err(|TooCostly| {
                        ErrorReply::unavailable(
                            "the patterns take too long to match; use fewer or simpler ones",
                        )
                    })?;
                    if matches {
                        left -= 1;
                        let event = Some(stored.event(&event));
                        reply.push(connection, &wire::LogItem { event, gap: None })?;
                    }
                }
                Item::Gap(gap) => {
                    let Some(gap) = gaps.unreported(gap) else { continue };
                    let gap = stored.gap_shown(&gap);
                    reply.push(connection, &wire::LogItem { event: None, gap: Some(gap) })?;
                }
            }
            if number % CHUNK == 0 {
                connection.yield_turn().await;
            }
        }
        if over {
            let after = format!(",\"seq\":{last_seq}");
            return if request.oneway { Ok(()) } else { reply.send_with(connection, &after, false).await };
        }
        match next {
            Some(next) if query.newest_first => query.until_seq = next,
            Some(next) => query.after_seq = next,
            None => {}
        }
        if request.more && !request.oneway {
            reply.send(connection, true).await?;
            reply = LongReply::begin(connection, "\"items\"")?;
        }
    }
}

/// The query of a call, and what is selected from its result.
async fn read(connection: &mut Connection, log: &wire::Log) -> Result<(EventQuery, Selection), CallError> {
    let mut query = EventQuery {
        after_seq: log.since_seq.unwrap_or(0),
        newest_first: log.newest_first == Some(true),
        since_wall_ns: log.since.as_deref().map(at::parse).transpose()?,
        until_wall_ns: log.until.as_deref().map(at::parse).transpose()?,
        max_rows: PAGE_ROWS,
        ..EventQuery::default()
    };
    if let Some(kinds) = &log.kinds {
        query.kinds = kinds
            .iter()
            .map(|word| {
                Kind::from_name(word)
                    .ok_or_else(|| ErrorReply::unknown_kind(word, &Kind::EVENTS.map(Kind::as_str)))
            })
            .collect::<Result<KindSet, _>>()?;
    }
    connection.settled().await?;
    let patterns = watch::patterns(connection, log.patterns.as_deref().unwrap_or_default()).await?;
    let mut hierarchies = BTreeSet::new();
    for name in log.hierarchies.iter().flatten() {
        let tracker = connection.shared.tracker.borrow();
        // A name that no hierarchy has now may have been one's in the past.
        let known = tracker.index().find_hierarchy(name).and_then(|id| tracker.index().hierarchy(id)?.name);
        hierarchies.insert(known.map_or_else(|| name.clone(), |name| name.to_string()));
    }
    let boot = match &log.boot {
        Some(boot) => {
            let question = |reader: &mut Reader<'_>| reader.boots();
            let ((), boots) = connection.ask(|_| ((), question)).await?;
            Some(boot_of(boot, &boots)?)
        }
        None => None,
    };
    Ok((query, Selection { patterns, hierarchies, boot, by: log.by.clone() }))
}

/// The boot that a call means: an id, or 0 for the newest, -1 for the one before, and so on.
fn boot_of(boot: &str, boots: &[Boot]) -> Result<Arc<str>, ErrorReply> {
    let found = match boot.parse::<i64>() {
        Ok(back) if back <= 0 => {
            let back = usize::try_from(back.unsigned_abs()).unwrap_or(usize::MAX);
            boots.iter().rev().nth(back)
        }
        _ => boots.iter().find(|known| *known.id == *boot),
    };
    let known = || boots.iter().map(|boot| boot.id.to_string()).collect::<Vec<_>>();
    found.map(|boot| Arc::clone(&boot.id)).ok_or_else(|| ErrorReply::unknown_boot(boot, &known()))
}
