//! `log`: prints past events from the history.

use cgtrace_client::wire;

use super::{
    Outcome, arguments::Log, connect::Connector, failure::Failure, hierarchy::of_options, live::Selection,
    output::Output, past::Past, path, printer::Printer, stderr::print, text, when::When,
};

/// How many events `--follow` begins with, as journalctl does.
const FOLLOWED_LINES: u64 = 10;

pub fn run(log: &Log, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let mut past = Past::open(log.history.folder.as_deref(), connector)?;
    let kinds = log.kinds.to_wire();
    let lines = log.lines.or_else(|| (log.follow && log.range.since.is_none()).then_some(FOLLOWED_LINES));
    let hierarchies = of_options(&log.hierarchy, &log.history).map(|name| vec![name]);
    let call = wire::Log {
        patterns: path::patterns(&log.patterns),
        kinds: kinds.clone(),
        hierarchies: hierarchies.clone(),
        since: log.range.since.map(When::to_wire),
        until: log.range.until.map(When::to_wire),
        boot: log.boot.clone(),
        by: log.by.clone(),
        since_seq: None,
        newest_first: lines.map(|_| true),
        max: lines,
    };
    let mut printer = Printer::new(output, log.layout);
    let seq = match lines {
        None => past.log(&call, &mut |item| print_item(&item, &mut printer))?,
        Some(lines) => {
            let (items, seq) = newest(&mut past, &call, lines)?;
            items.iter().try_for_each(|item| print_item(item, &mut printer))?;
            seq
        }
    };
    printer.flush()?;
    if log.follow {
        let watch = wire::Watch {
            patterns: call.patterns.clone(),
            kinds,
            hierarchies,
            // The log ends with this event: the stream continues it.
            since_seq: Some(seq),
            ..wire::Watch::default()
        };
        let live = past.live(watch, connector)?;
        let selection = Selection { count: None, by: log.by.as_deref() };
        return live.print(&selection, &mut printer, || {});
    }
    if printer.has_printed {
        return Ok(Outcome::Yes);
    }
    let since = past.complete_since()?;
    let which = if log.kinds.is_default() { "no lifecycle event" } else { "no event" };
    let since = since.map_or_else(
        || "nothing is stored".to_owned(),
        |since| format!("the history is complete since {}", text::timestamp(&since)),
    );
    print(format!("cgtrace: {which} matches; {since}"));
    Ok(Outcome::No)
}

fn print_item(item: &wire::LogItem, printer: &mut Printer<'_>) -> Result<(), Failure> {
    if let Some(gap) = &item.gap {
        printer.gap(gap)?;
    }
    item.event.as_ref().map_or(Ok(()), |event| printer.event(event))
}

/// The newest events, in the order in which they happened.
fn newest(past: &mut Past, call: &wire::Log, lines: u64) -> Result<(Vec<wire::LogItem>, u64), Failure> {
    let (mut items, mut events) = (Vec::new(), 0);
    let seq = past.log(call, &mut |item| {
        events += u64::from(item.event.is_some());
        items.push(item);
        Ok(())
    })?;
    // What is missing before the oldest of them was not asked for.
    while events == lines && items.last().is_some_and(|item| item.event.is_none()) {
        items.pop();
    }
    items.reverse();
    Ok((items, seq))
}
