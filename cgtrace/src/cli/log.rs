//! `log`: prints past events from the history.

use std::fs;

use cgtrace_client::{StreamItem, wire};

use super::{
    Outcome, arguments::Log, connect::Connector, failure::Failure, output::Output, past::Past, path,
    stderr::print, text, when::When,
};

pub fn run(log: &Log, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let mut past = Past::open(log.history.folder.as_deref(), connector)?;
    let kinds = (!log.kinds.is_empty()).then(|| log.kinds.clone());
    let hierarchies = log.hierarchy.name.clone().map(|name| vec![name]);
    let call = wire::Log {
        patterns: path::patterns(&log.patterns),
        kinds: kinds.clone(),
        hierarchies: hierarchies.clone(),
        since: log.range.since.map(When::to_wire),
        until: log.range.until.map(When::to_wire),
        boot: log.boot.clone(),
        by: log.by.clone(),
        since_seq: None,
        newest_first: log.lines.map(|_| true),
        max: log.lines,
    };
    let mut printer = Printer::new(output);
    let seq = match log.lines {
        None => past.log(&call, &mut |item| printer.item(&item))?,
        Some(lines) => {
            let (items, seq) = newest(&mut past, &call, lines)?;
            items.iter().try_for_each(|item| printer.item(item))?;
            seq
        }
    };
    if log.follow {
        let watch = wire::Watch {
            patterns: call.patterns.clone(),
            kinds,
            hierarchies,
            // The log ends with this event: the stream continues it.
            since_seq: Some(seq),
            ..wire::Watch::default()
        };
        return follow(past, &watch, log.by.as_deref(), &mut printer);
    }
    if printer.has_matched {
        return Ok(Outcome::Yes);
    }
    let since = past.complete_since()?;
    print(match since {
        Some(since) => {
            format!("cgtrace: no event matches; the history is complete since {}", text::timestamp(&since))
        }
        None => "cgtrace: no event matches; nothing is stored".to_owned(),
    });
    Ok(Outcome::No)
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

/// Prints events as they happen, until interrupted.
fn follow(
    past: Past,
    watch: &wire::Watch,
    by: Option<&str>,
    printer: &mut Printer<'_>,
) -> Result<Outcome, Failure> {
    printer.output.flush()?;
    let mut stream = past.watch(watch)?;
    while let Some(item) = stream.next() {
        match item? {
            StreamItem::Existing(_) | StreamItem::Started { .. } => {}
            StreamItem::Dropped(dropped) if printer.output.json => {
                printer.output.document(&wire::Dropped::Dropped { dropped })?;
            }
            StreamItem::Dropped(dropped) => printer.output.line(text::dropped(dropped))?,
            StreamItem::Gap(gap) => printer.gap(&gap)?,
            StreamItem::Event(event) => {
                if by.is_none_or(|by| is_by(&event, by)) {
                    printer.event(&event)?;
                }
            }
        }
        if !stream.has_more() {
            printer.output.flush()?;
        }
    }
    Ok(Outcome::Yes)
}

/// Whether a process, given by its comm or pid, caused an event. A stream of events cannot select that.
fn is_by(event: &wire::Event, by: &str) -> bool {
    event.by.as_ref().is_some_and(|task| match by.parse::<u32>() {
        Ok(pid) => task.pid == pid,
        Err(_) => task.comm == by,
    })
}

/// Prints a log's items.
struct Printer<'o> {
    output: &'o mut Output,
    /// This machine's.
    current_boot: String,
    /// The boot of the last printed event.
    boot: Option<String>,
    has_matched: bool,
}

impl<'o> Printer<'o> {
    fn new(output: &'o mut Output) -> Self {
        let current_boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { output, current_boot: current_boot.trim().to_owned(), boot: None, has_matched: false }
    }

    fn item(&mut self, item: &wire::LogItem) -> Result<(), Failure> {
        if let Some(gap) = &item.gap {
            self.gap(gap)?;
        }
        item.event.as_ref().map_or(Ok(()), |event| self.event(event))
    }

    fn gap(&mut self, gap: &wire::Gap) -> Result<(), Failure> {
        if self.output.json {
            return self.output.document(&wire::GapLine::from(gap.clone()));
        }
        self.output.line(text::gap(gap))
    }

    fn event(&mut self, event: &wire::Event) -> Result<(), Failure> {
        self.has_matched = true;
        if self.output.json {
            return self.output.document(event);
        }
        // A daemon leaves out the current boot's id.
        let boot = event.boot_id.as_ref().unwrap_or(&self.current_boot).clone();
        if self.boot.as_ref().is_some_and(|last| *last != boot) {
            self.output.line(text::boot(&boot))?;
        }
        self.boot = Some(boot);
        self.output.line(text::event(event))
    }
}
