//! The times of a segment: those that a question is not about are left out.

use super::decode::Decoder;
use crate::error::Error;

/// Records of several CPUs, and those from before a daemon took over, may be stored out of the order of time by
/// less than this, in ns.
const SLACK_NS: i64 = 1_000_000_000;

/// A span of the wall clock, in ns since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub from_wall_ns: i64,
    pub until_wall_ns: i64,
}

/// A span that contains every event and gap of a segment, whichever way the clock was set; `None` if no run
/// was observed.
pub(super) fn span(decoder: &Decoder<'_>) -> Result<Option<Span>, Error> {
    let limits = |statement: &str| {
        decoder
            .on
            .prepare_cached(statement)?
            .query_row([], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)))
    };
    let runs = limits(
        "select min(c.zero_wall_ns + p.from_boot_ns), max(c.zero_wall_ns + p.until_boot_ns)
         from period p join clock f on f.no = p.from_clock join clock c on c.boot = f.boot",
    )?;
    let (Some(from), Some(until)) = runs else { return Ok(None) };
    let gaps = limits(
        "select min(f.zero_wall_ns + g.from_boot_ns), max(u.zero_wall_ns + g.until_boot_ns)
         from gap g join clock u on u.no = g.until_clock left join clock f on f.no = g.from_clock",
    )?;
    // The first run may have begun with records of the program that it took over.
    let first = limits(
        "select c.zero_wall_ns + e.boot_ns, null from event e join clock c on c.no = e.clock order by e.seq limit 1",
    );
    let first = match first {
        Err(rusqlite::Error::QueryReturnedNoRows) => None,
        first => first?.0,
    };
    let from = [gaps.0, first].into_iter().flatten().fold(from, i64::min);
    Ok(Some(Span {
        from_wall_ns: from.saturating_sub(SLACK_NS),
        until_wall_ns: gaps.1.map_or(until, |gap| gap.max(until)).saturating_add(SLACK_NS),
    }))
}
