//! Events, one per line.

use cgtrace_client::wire::{CgroupRef, Event, EventKind};
use cgtrace_why::format::process_in_full;
use clap::builder::styling::Style;

use super::{CHANGED, GONE, GOOD, QUIET, hierarchy, path, styled, task, timestamp};

/// `2026-11-23T10:05:00.123Z  mkdir  v2  /system.slice/kubelet.service  by systemd[1]`
pub fn event(event: &Event) -> String {
    let mut parts = vec![
        styled(QUIET, &timestamp(&event.at())),
        styled(style(&event.kind), &format!("{:9}", event.kind)),
    ];
    parts.extend(event.hierarchy.as_deref().map(hierarchy));
    if event.id.is_some() {
        parts.push(cgroup(event.path.as_deref(), event.path_hex.as_deref(), event.id));
    }
    if let Some(CgroupRef { id, path, path_hex }) = &event.from {
        parts.push(format!("from {}", cgroup(path.as_deref(), path_hex.as_deref(), Some(*id))));
    }
    if let Some(moved) = &event.task {
        let is_thread = moved.threadgroup == Some(false) && moved.tid != moved.pid;
        let thread = if is_thread { format!(" thread {}", moved.tid) } else { String::new() };
        parts.push(task(moved) + &thread);
    }
    parts.extend(event.by.as_ref().map(|task| styled(QUIET, &format!("by {}", process_in_full(task)))));
    parts.extend(event.lost.map(|lost| format!("{lost} records; resyncing the index")));
    if event.inferred {
        parts.push("(inferred)".to_owned());
    }
    parts.join("  ").trim_end().to_owned()
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
    use cgtrace_client::wire::{Task, Timestamp};

    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn an_event_is_one_escaped_line() {
        let line = event(&Event {
            time: Timestamp::from_unix_ns(1_795_428_300_123_456_789, 0).time,
            kind: EventKind::Attach,
            hierarchy: Some("v2".to_owned()),
            id: Some(7),
            path: Some("/a\u{1b}c".to_owned()),
            from: Some(CgroupRef { id: 1, path: Some("/".to_owned()), path_hex: None }),
            task: Some(Task {
                pid: 42,
                tid: 43,
                comm: "kubelet".to_owned(),
                threadgroup: Some(false),
                ..Task::default()
            }),
            by: Some(Task {
                pid: 1,
                comm: "systemd".to_owned(),
                cgroup: Some("/init.scope".to_owned()),
                ..Task::default()
            }),
            ..Event::default()
        });
        assert_eq!(
            plain(&line),
            "2026-11-23T10:05:00.123Z  attach     v2            /a\\x1bc  from /  kubelet[42] thread 43  by systemd[1] (in /init.scope)"
        );
    }

    #[test]
    fn an_event_without_a_cgroup_is_printed() {
        let lost = Event { kind: EventKind::Lost, lost: Some(3), ..Event::default() };
        assert!(plain(&event(&lost)).contains("3 records"));
    }
}
