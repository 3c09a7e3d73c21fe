//! Events, page by page, in both directions.

use cgtrace_common::Kind;
use cgtrace_history::{EventQuery, Item, KindSet, StoredEvent};

use crate::scene::{SECOND, Scene, ZERO, all_items, cgroup, events, options, task};

fn seqs(items: &[Item]) -> Vec<u64> {
    events(items).iter().map(|event| event.seq).collect()
}

fn scene() -> Scene {
    let mut scene = Scene::in_memory();
    for id in 10..30 {
        scene.mkdir(id, &format!("/a{id}"));
        scene.rmdir(id, &format!("/a{id}"));
    }
    scene
}

#[test]
fn every_event_is_returned_once_whatever_the_size_of_a_page() {
    let scene = scene();
    for (max_rows, max_bytes) in [(1, 1 << 20), (3, 1 << 20), (1_000, 1), (1_000, 1 << 20)] {
        for newest_first in [false, true] {
            let query = EventQuery { max_rows, max_bytes, newest_first, ..EventQuery::default() };
            let mut found = scene.ask(move |reader| seqs(&all_items(reader, &query)));
            if newest_first {
                found.reverse();
            }
            assert_eq!(found, (1..=40).collect::<Vec<_>>(), "{max_rows} {max_bytes} {newest_first}");
        }
    }
}

#[test]
fn numbers_times_and_kinds_select() {
    let scene = scene();
    let of = |query: EventQuery| scene.ask(move |reader| seqs(&all_items(reader, &query)));
    let all = EventQuery::default;
    assert_eq!(of(EventQuery { after_seq: 38, ..all() }), [39, 40]);
    assert_eq!(of(EventQuery { after_seq: 3, until_seq: 6, ..all() }), [4, 5, 6]);
    assert_eq!(of(EventQuery { after_seq: 40, ..all() }), []);
    let at = |second: u64| Some(ZERO + (second * SECOND).cast_signed());
    assert_eq!(of(EventQuery { since_wall_ns: at(139), ..all() }), [39, 40]);
    assert_eq!(of(EventQuery { until_wall_ns: at(102), ..all() }), [1, 2]);
    let kinds = KindSet::from_iter([Kind::Rmdir]);
    assert_eq!(of(EventQuery { kinds, until_seq: 6, ..all() }), [2, 4, 6]);
}

#[test]
fn an_event_is_returned_as_it_was_recorded() {
    let mut scene = Scene::in_memory();
    let mut attach = scene.new_event(Kind::Attach, Some(cgroup(6, "/to")), Some(task(1, 0, "systemd")));
    attach.from = Some(cgroup(5, "/from/\u{fc}"));
    attach.task = Some(task(70, 1_000, "worker"));
    attach.threadgroup = Some(true);
    scene.record(attach);
    let mut lost = scene.new_event(Kind::Lost, None, None);
    lost.lost = Some(12);
    scene.record(lost);
    let mut inferred = scene.new_event(Kind::Mkdir, Some(cgroup(7, "/late")), None);
    inferred.inferred = true;
    scene.record(inferred);
    let items = scene.items();
    let found = events(&items);
    let StoredEvent { from, task, threadgroup, by, .. } = found[0];
    assert_eq!(from.as_ref().unwrap().path.as_deref(), Some("/from/\u{fc}".as_bytes()));
    assert_eq!(
        (task.as_ref().unwrap().task.uid, *threadgroup, by.as_ref().unwrap().task.pid),
        (1_000, Some(true), 1)
    );
    assert_eq!(found[0].cgroup.as_ref().unwrap().hierarchy_name.as_deref(), Some("v2"));
    assert_eq!((found[1].kind, found[1].lost, &found[1].cgroup), (Kind::Lost, Some(12), &None));
    assert!(found[2].inferred && found[2].threadgroup.is_none());
}

#[test]
fn a_path_that_is_not_utf8_or_very_long_survives() {
    let mut scene = Scene::in_memory();
    let long = format!("/{}", "x".repeat(150_000));
    scene.mkdir(5, &long);
    let mut raw = cgroup(6, "/");
    raw.path = Some(b"/a\xff\x01/\xfe".as_slice().into());
    scene.event(Kind::Mkdir, Some(raw), None);
    let items = scene.items();
    let paths: Vec<_> =
        events(&items).iter().map(|event| event.cgroup.clone().unwrap().path.unwrap()).collect();
    assert_eq!(paths, [long.as_bytes(), b"/a\xff\x01/\xfe"]);
}

#[test]
fn a_history_on_disk_is_read_while_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), SECOND);
    scene.mkdir(5, "/a");
    // Not committed yet, but the answer contains it.
    assert_eq!(seqs(&scene.items()), [1]);
}
