//! Events and gaps, page by page.

use cgtrace_common::Kind;

use super::{
    Reader,
    decode::{Decoder, EVENT, event_row},
    span::{Span, span},
};
use crate::{
    error::Error,
    stored::{Gap, GapReason, StoredEvent},
};

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindSet(u32);

impl KindSet {
    /// Every kind.
    pub const ALL: Self = Self(u32::MAX);

    /// Whether it contains a kind.
    #[must_use]
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }
}

impl FromIterator<Kind> for KindSet {
    fn from_iter<T: IntoIterator<Item = Kind>>(kinds: T) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | (1 << kind as u32)))
    }
}

/// Which events to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// After the event with this number,
    pub after_seq: u64,
    /// up to the one with this number.
    pub until_seq: u64,
    /// From the last to the first.
    pub newest_first: bool,
    /// It continues an earlier page: gaps that were returned by then are not returned again.
    pub resumed: bool,
    /// Of these kinds.
    pub kinds: KindSet,
    /// Not before this time: ns since 1970.
    pub since_wall_ns: Option<i64>,
    /// Not after this time: ns since 1970.
    pub until_wall_ns: Option<i64>,
    /// How many events are read at most, whether they match or not: the answer's work is bounded.
    pub max_rows: usize,
    /// About how many bytes of events are returned at most.
    pub max_bytes: usize,
}

impl Default for EventQuery {
    fn default() -> Self {
        Self {
            after_seq: 0,
            until_seq: u64::MAX,
            newest_first: false,
            resumed: false,
            kinds: KindSet::ALL,
            since_wall_ns: None,
            until_wall_ns: None,
            max_rows: 8_192,
            max_bytes: 256 << 10,
        }
    }
}

impl EventQuery {
    /// Whether a time, in ns since 1970, is within the times in question.
    fn covers(&self, wall_ns: i64) -> bool {
        self.since_wall_ns.is_none_or(|since| wall_ns >= since)
            && self.until_wall_ns.is_none_or(|until| wall_ns <= until)
    }

    /// Whether something of these times is in question.
    fn concerns_span(&self, span: Option<Span>) -> bool {
        span.is_none_or(|Span { from_wall_ns, until_wall_ns }| {
            self.since_wall_ns.is_none_or(|since| until_wall_ns >= since)
                && self.until_wall_ns.is_none_or(|until| from_wall_ns <= until)
        })
    }

    /// Whether a gap lies within the times in question.
    fn concerns(&self, gap: &Gap) -> bool {
        let from = gap.from.as_ref().map_or(gap.until.wall_ns, |from| from.wall_ns);
        self.since_wall_ns.is_none_or(|since| gap.until.wall_ns >= since)
            && self.until_wall_ns.is_none_or(|until| from <= until)
    }
}

/// An event, or what is not stored in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// An event.
    Event(Box<StoredEvent>),
    /// A gap.
    Gap(Gap),
}

/// A part of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the query's order. A gap comes before the events that follow it in time.
    pub items: Vec<Item>,
    /// How many events were read, selected or not.
    pub read: u64,
    /// Ask again with this as `after_seq` (or, newest first, as `until_seq`) and `resumed`; `None`: that was all.
    pub next: Option<u64>,
}

/// One step of a query: the rows of one segment.
#[derive(Default)]
struct Step {
    items: Vec<Item>,
    /// The last number read, if the budget ended the step.
    stopped_at: Option<u64>,
}

impl Reader<'_> {
    /// Reads the next part of a query's answer. `matches` selects among the events.
    pub fn events(
        &mut self,
        query: &EventQuery,
        matches: &mut dyn FnMut(&StoredEvent) -> bool,
    ) -> Result<Page, Error> {
        let mut page = Page::default();
        let (mut rows, mut bytes) = (query.max_rows, query.max_bytes);
        let count = self.segments.len();
        let order: Vec<usize> =
            if query.newest_first { (0..count).rev().collect() } else { (0..count).collect() };
        // Also of a later page: what it was to begin with may have been removed since the one before.
        if !query.newest_first {
            page.items.extend(self.gap_before_oldest(query).map(Item::Gap));
        }
        for at in order {
            let Some((first, last)) = self.numbers(at) else { continue };
            // The gap before its first event is in it, too.
            if first.saturating_sub(1) > query.until_seq || last <= query.after_seq {
                continue;
            }
            let step = self.ask(at, |decoder| {
                if !query.concerns_span(span(decoder)?) {
                    return Ok(Step::default());
                }
                step(decoder, query, first.saturating_sub(1), last, &mut rows, &mut bytes, matches)
            })?;
            let Some(step) = step else {
                let gap = self.broken_gap(at).filter(|gap| query.concerns(gap));
                page.items.extend(gap.map(Item::Gap));
                continue;
            };
            page.items.extend(step.items);
            if let Some(stopped_at) = step.stopped_at {
                page.next = Some(if query.newest_first { stopped_at.saturating_sub(1) } else { stopped_at });
                break;
            }
        }
        page.read = (query.max_rows - rows) as u64;
        if query.newest_first && page.next.is_none() {
            page.items.extend(self.gap_before_oldest(query).map(Item::Gap));
        }
        Ok(page)
    }

    /// The first and the last number that a segment can hold.
    fn numbers(&self, at: usize) -> Option<(u64, u64)> {
        let first = self.segments.get(at)?.header.next_seq;
        let last = self.segments.get(at + 1).map_or(u64::MAX, |next| next.header.next_seq.saturating_sub(1));
        Some((first, last))
    }

    /// What was asked for, but lies before the oldest segment.
    fn gap_before_oldest(&self, query: &EventQuery) -> Option<Gap> {
        let oldest = self.segments.first()?;
        let header = &oldest.header;
        let first = header.next_seq;
        let before = query.since_wall_ns.is_none_or(|since| since < header.begun.wall_ns);
        if query.after_seq + 1 >= first || !before || oldest.number == 1 {
            return None;
        }
        // What follows is not asked for.
        let until_seq = query.until_seq.min(first - 1);
        Some(Gap {
            reason: GapReason::Retention,
            after_seq: query.after_seq,
            until_seq,
            // Between runs, numbers may be left out.
            events: (query.after_seq >= header.run_seq).then(|| until_seq.saturating_sub(query.after_seq)),
            from: None,
            until: header.begun.clone(),
            uid: None,
        })
    }

    /// The gap in place of a damaged segment.
    pub(super) fn broken_gap(&self, at: usize) -> Option<Gap> {
        let ((first, last), segment) = (self.numbers(at)?, self.segments.get(at)?);
        let until = self.segments.get(at + 1).map_or(&segment.header.begun, |next| &next.header.begun);
        Some(Gap {
            reason: GapReason::Broken,
            after_seq: first.saturating_sub(1),
            until_seq: last,
            events: None,
            from: Some(segment.header.begun.clone()),
            until: until.clone(),
            uid: None,
        })
    }
}

fn step(
    decoder: &mut Decoder<'_>,
    query: &EventQuery,
    before_first: u64,
    last: u64,
    rows_left: &mut usize,
    bytes_left: &mut usize,
    matches: &mut dyn FnMut(&StoredEvent) -> bool,
) -> Result<Step, Error> {
    let (after, until) = (query.after_seq.max(before_first), query.until_seq.min(last));
    let limit = |seq: u64| i64::try_from(seq).unwrap_or(i64::MAX);
    let gaps = decoder.gaps(
        "where until_seq > ?1 and after_seq <= ?2 order by after_seq, no",
        (limit(query.after_seq.min(after)), limit(until)),
    )?;
    let mut gaps: Vec<Gap> = gaps
        .into_iter()
        .filter(|gap| match (query.resumed, query.newest_first) {
            (false, _) => true,
            (true, false) => gap.after_seq > query.after_seq,
            (true, true) => gap.after_seq < query.until_seq,
        })
        .filter(|gap| query.concerns(gap))
        .collect();
    let mut found = Step::default();
    let order = if query.newest_first { "desc" } else { "asc" };
    let on = decoder.on;
    let mut statement = on
        .prepare_cached(&format!("select {EVENT} where e.seq > ?1 and e.seq <= ?2 order by e.seq {order}"))?;
    // What is selected is selected below, so that every row is counted.
    let mut rows = statement.query((limit(after), limit(until)))?;
    if query.newest_first {
        gaps.reverse();
    }
    let mut gaps = gaps.into_iter().peekable();
    while let Some(row) = rows.next()? {
        let row = event_row(row)?;
        let seq = row.seq;
        // A gap lies before the events that follow it.
        while let Some(gap) =
            gaps.next_if(|gap| if query.newest_first { gap.after_seq >= seq } else { gap.after_seq < seq })
        {
            found.items.push(Item::Gap(gap));
        }
        if *rows_left == 0 || *bytes_left == 0 {
            found.stopped_at = Some(if query.newest_first { seq + 1 } else { seq - 1 });
            return Ok(found);
        }
        *rows_left -= 1;
        if !query.kinds.contains(row.kind) || !query.covers(decoder.wall_ns(&row)?) {
            continue;
        }
        let event = decoder.event(row)?;
        if matches(&event) {
            let path = |cgroup: &Option<crate::stored::StoredCgroup>| {
                cgroup.as_ref().and_then(|cgroup| cgroup.path.as_ref()).map_or(0, Vec::len)
            };
            let bytes = size_of::<StoredEvent>() + path(&event.cgroup) + path(&event.from);
            *bytes_left = bytes_left.saturating_sub(bytes);
            found.items.push(Item::Event(Box::new(event)));
        }
    }
    found.items.extend(gaps.map(Item::Gap));
    Ok(found)
}
