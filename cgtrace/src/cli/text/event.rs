//! Events, one per row.

use cgtrace_client::wire::{EventKind, Task};
use cgtrace_why::format::process_in_full;
use clap::builder::styling::Style;

use super::{CHANGED, Clock, GONE, GOOD, Part, QUIET, Together, escape, path, row, styled, task};

/// The columns of most kinds.
const KIND_WIDTH: usize = 6;

/// `10:05:00.123  mkdir   /system.slice/kubelet.service  v2 pids  by systemd[1]`, in at most that many columns.
/// Without a width nothing is left out.
pub fn event(Together { event, hierarchies }: &Together, clock: &Clock, width: Option<usize>) -> String {
    let mut parts = vec![
        Part::Text(QUIET, clock.time(&event.at())),
        Part::Text(style(&event.kind), format!("{:KIND_WIDTH$}", event.kind)),
    ];
    if event.id.is_some() {
        parts.push(Part::Path("", cgroup(event.path.as_deref(), event.path_hex.as_deref(), event.id)));
    }
    if let Some(moved) = &event.task {
        let is_thread = moved.threadgroup == Some(false) && moved.tid != moved.pid;
        let thread = if is_thread { format!(" thread {}", moved.tid) } else { String::new() };
        parts.push(Part::text(task(moved) + &thread));
    }
    if let Some(from) = &event.from {
        parts
            .push(Part::Path("from ", cgroup(from.path.as_deref(), from.path_hex.as_deref(), Some(from.id))));
    }
    if !hierarchies.is_empty() {
        parts.push(Part::Names(hierarchies.iter().map(|name| escape(name)).collect()));
    }
    if let Some(by) = &event.by {
        let is_itself = |task: &Task| task.pid == by.pid && task.comm == by.comm;
        let text = match width {
            _ if event.task.as_ref().is_some_and(is_itself) => "by itself".to_owned(),
            Some(_) => format!("by {}", task(by)),
            None => format!("by {}", process_in_full(by)),
        };
        parts.push(Part::Optional(QUIET, text));
    }
    parts.extend(event.lost.map(|lost| Part::text(format!("{lost} records; resyncing the index"))));
    if event.inferred {
        parts.push(Part::text("(inferred)"));
    }
    row(parts, width)
}

/// `              exists  /system.slice/kubelet.service  v2 pids`
pub fn existing(path: &str, hierarchies: &[&str], clock: &Clock, width: Option<usize>) -> String {
    let parts = vec![
        Part::text(" ".repeat(clock.columns())),
        Part::Text(QUIET, format!("{:KIND_WIDTH$}", "exists")),
        Part::Path("", path.to_owned()),
        Part::Names(hierarchies.iter().map(|name| escape(name)).collect()),
    ];
    row(parts, width)
}

fn cgroup(text: Option<&str>, hex: Option<&str>, id: Option<u64>) -> String {
    match (text, id) {
        (None, Some(id)) => format!("(id {id})"),
        _ => path(text, hex),
    }
}

/// The marker for events that were not sent, in their place in the stream.
pub fn dropped(events: u64) -> String {
    styled(CHANGED, &format!("-- {events} events dropped: not read fast enough"))
}

fn style(kind: &EventKind) -> Style {
    match kind {
        EventKind::Mkdir | EventKind::HierarchyCreated | EventKind::Resynced => GOOD,
        EventKind::Rmdir | EventKind::HierarchyDestroyed | EventKind::Lost => GONE,
        EventKind::Rename | EventKind::Attach | EventKind::Transfer | EventKind::Fork | EventKind::Exec => {
            CHANGED
        }
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::{CgroupRef, Event, Timestamp};

    use super::*;

    fn shown(event_: &Event, hierarchies: &[&str], width: Option<usize>) -> String {
        let hierarchies = hierarchies.iter().map(|name| (*name).to_owned()).collect();
        let change = Together { event: event_.clone(), hierarchies };
        anstream::adapter::strip_str(&event(&change, &Clock::new(true), width)).to_string()
    }

    fn process(pid: u32, comm: &str) -> Task {
        Task { pid, tid: pid, comm: comm.to_owned(), ..Task::default() }
    }

    fn moved() -> Event {
        Event {
            time: Timestamp::from_unix_ns(1_795_428_300_123_456_789, 0).time,
            kind: EventKind::Attach,
            id: Some(7),
            path: Some("/a\u{1b}c".to_owned()),
            from: Some(CgroupRef { id: 1, path: Some("/".to_owned()), path_hex: None }),
            task: Some(Task { tid: 43, threadgroup: Some(false), ..process(42, "kubelet") }),
            by: Some(Task { cgroup: Some("/init.scope".to_owned()), ..process(1, "systemd") }),
            ..Event::default()
        }
    }

    #[test]
    fn an_event_is_one_escaped_row() {
        assert_eq!(
            shown(&moved(), &["v2"], None),
            "10:05:00.123Z  attach  /a\\x1bc  kubelet[42] thread 43  from /  v2  by systemd[1] (in /init.scope)"
        );
    }

    #[test]
    fn a_row_fits_a_terminal() {
        let path = format!("/kubepods.slice/{}/cri-containerd-{}.scope", "p".repeat(60), "c".repeat(64));
        let from = Some(CgroupRef { id: 1, path: Some(path.clone()), path_hex: None });
        let event = Event { path: Some(path), from, ..moved() };
        let hierarchies = ["v2", "name=systemd", "cpu,cpuacct", "memory", "pids", "devices", "cpuset"];
        let row = shown(&event, &hierarchies, Some(80));
        assert!(row.chars().count() <= 80, "{row}");
        assert!(row.contains("…") && row.contains("v2 +6"), "{row}");
        assert!(
            shown(&event, &hierarchies, None).ends_with("devices cpuset  by systemd[1] (in /init.scope)")
        );
    }

    #[test]
    fn a_process_that_moves_itself_is_named_once() {
        let event = Event { by: Some(process(42, "kubelet")), ..moved() };
        assert!(shown(&event, &["v2"], Some(80)).ends_with("v2  by itself"));
    }

    #[test]
    fn an_event_without_a_cgroup_is_printed() {
        let lost = Event { kind: EventKind::Lost, lost: Some(3), ..Event::default() };
        assert!(shown(&lost, &[], Some(80)).ends_with("lost    3 records; resyncing the index"));
    }
}
