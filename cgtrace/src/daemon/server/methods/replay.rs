//! The events before a subscription, from the history.

use std::{collections::BTreeSet, rc::Rc};

use cgtrace_client::wire;
use cgtrace_history::{EventQuery, Item, KindSet, Page, Reader, StoredEvent};

use super::{
    super::events::encode_reply,
    past::hierarchies_of,
    reported::Reported,
    watch::{BATCH, encode_dropped},
};
use crate::{
    daemon::server::{
        class::SocketClass,
        events::{Filter, TooCostly},
        failure::{CallError, ErrorReply},
        shared::Shared,
        transport::Connection,
    },
    stored::StoredEncoder,
};

/// Number of replayed events after which other tasks may run.
const CHUNK: usize = 4;

/// How many events the history thread reads for one page: about 20 ms of its time.
const PAGE_ROWS: usize = 4_096;

/// How many events may be left to be replayed after the subscription began.
const NEAR: u64 = 1_024;

/// Sends the events after a number.
pub struct Replay {
    filter: Rc<Filter>,
    /// The names of the selected hierarchies; empty: all.
    hierarchies: BTreeSet<String>,
    since: u64,
    after: u64,
    /// How many events were read, selected or not.
    read: u64,
    gaps: Reported,
}

impl Replay {
    /// Begins after the event with the number `since`.
    pub fn begin(connection: &Connection, filter: &Rc<Filter>, since: u64) -> Result<Self, ErrorReply> {
        let tracker = connection.shared.tracker.borrow();
        let index = tracker.index();
        if since > index.seq() {
            return Err(ErrorReply::seq_ahead(since, index.seq()));
        }
        let name = |id| match hierarchies_of(index, id) {
            cgtrace_history::Hierarchies::Named(name) => Some(name),
            _ => None,
        };
        let hierarchies = filter.criteria.hierarchies.iter().filter_map(|id| name(*id)).collect();
        let (filter, gaps) = (Rc::clone(filter), Reported::default());
        Ok(Self { filter, hierarchies, since, after: since, read: 0, gaps })
    }

    /// Sends events until few are left; the last ones may remain in `batch`.
    pub async fn catch_up(
        &mut self,
        connection: &mut Connection,
        batch: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        loop {
            let last = connection.shared.tracker.borrow().index().seq();
            if last.saturating_sub(self.after) <= NEAR {
                return Ok(());
            }
            self.send(connection, last, batch).await?;
        }
    }

    /// Sends the events up to the one with this number, after which the subscription continues.
    pub async fn finish(
        mut self,
        connection: &mut Connection,
        last: u64,
        batch: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        self.send(connection, last, batch).await?;
        self.report_unstored(connection, batch);
        Ok(())
    }

    async fn send(
        &mut self,
        connection: &mut Connection,
        last: u64,
        batch: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let kinds = &self.filter.criteria.kinds;
        let kinds = if kinds.is_empty() { KindSet::ALL } else { kinds.iter().copied().collect() };
        let mut query = EventQuery {
            after_seq: self.after,
            until_seq: last,
            kinds,
            max_rows: PAGE_ROWS,
            ..EventQuery::default()
        };
        while query.after_seq < last {
            let asked = query.clone();
            let question = move |reader: &mut Reader<'_>| reader.events(&asked, &mut |_| true);
            let ((), Page { items, read, next }) = connection.ask(|_| ((), question)).await?;
            self.read += read;
            for (number, item) in items.into_iter().enumerate() {
                self.push(connection, item, batch);
                if batch.len() >= BATCH {
                    connection.write(batch).await?;
                    batch.clear();
                }
                if number % CHUNK == 0 {
                    connection.yield_turn().await;
                }
            }
            query.after_seq = next.unwrap_or(last);
        }
        self.after = last;
        Ok(())
    }

    fn push(&mut self, connection: &Connection, item: Item, batch: &mut Vec<u8>) {
        let identities = connection.class.shows_identities();
        let shared = &connection.shared;
        let stored = StoredEncoder { current_boot: Some(shared.history.boot_id()), identities };
        let reply = match item {
            Item::Event(event) => match self.matches(&event) {
                Ok(false) => return,
                Ok(true) => wire::WatchReply { event: Some(stored.event(&event)), ..Default::default() },
                Err(TooCostly) => return batch.extend(encode_dropped(1)),
            },
            Item::Gap(gap) => {
                let Some(gap) = self.gaps.unreported(gap) else { return };
                let gap = stored.gap_shown(&gap);
                wire::WatchReply { gap: Some(gap), ..Default::default() }
            }
        };
        batch.extend(encode_reply(&reply, true));
    }

    fn matches(&self, event: &StoredEvent) -> Result<bool, TooCostly> {
        // Ids of hierarchies change from boot to boot.
        let named = event.cgroup.as_ref().map(|cgroup| cgroup.hierarchy_name.as_deref());
        let selected = self.hierarchies.is_empty()
            || named.is_none_or(|name| name.is_some_and(|name| self.hierarchies.contains(name)));
        let paths = event.cgroup.iter().chain(&event.from).map(|cgroup| cgroup.path.as_deref());
        self.filter.matches_parts(event.kind, selected, paths)
    }

    /// Tells a subscriber of kinds that are not stored how many events of any such kind there were: as many
    /// as there are numbers without an event that was read or is in a gap.
    fn report_unstored(&self, connection: &Connection, batch: &mut Vec<u8>) {
        let unstored = (self.after - self.since).saturating_sub(self.read + self.gaps.events(self.since));
        if unstored == 0 || !selects_unstored(&connection.shared, &self.filter) {
            return;
        }
        let encoder = connection.shared.encoder(SocketClass::Public);
        let gap = wire::Gap {
            reason: "kinds".to_owned(),
            until: encoder.timestamp(cgtrace_host::clock::boot_ns()),
            lost: Some(unstored),
            ..wire::Gap::default()
        };
        batch.extend(encode_reply(&wire::WatchReply { gap: Some(gap), ..Default::default() }, true));
    }
}

/// Whether a filter selects a kind that is not stored.
fn selects_unstored(shared: &Shared, filter: &Filter) -> bool {
    let stored = shared.history.kinds();
    crate::daemon::index::Kind::EVENTS
        .into_iter()
        .any(|kind| filter.selects_kind(kind) && !stored.contains(kind))
}
