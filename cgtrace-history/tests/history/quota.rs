//! One user cannot fill a segment.

use cgtrace_common::Kind;
use cgtrace_history::{At, GapReason, Hierarchies, Item, Options, StateAt};

use crate::scene::{SECOND, Scene, ZERO, cgroup, events, options, task};

/// Segments of 512 KiB, of which a user may fill 128 KiB.
fn scene() -> Scene {
    Scene::start(Options { max_bytes: 8 << 20, ..options(None) }, 100 * SECOND)
}

pub fn flood(scene: &mut Scene, uid: u32, count: u64) {
    for id in 0..count {
        let by = Some(task(70, uid, "sh"));
        scene.event(Kind::Mkdir, Some(cgroup(10_000 + id, &format!("/user/{id}"))), by.clone());
        scene.event(Kind::Rmdir, Some(cgroup(10_000 + id, &format!("/user/{id}"))), by);
        scene.wait_for_room();
    }
}

#[test]
fn a_user_above_the_quota_is_counted_and_others_are_stored() {
    let mut scene = scene();
    scene.mkdir(5, "/evidence");
    scene.rmdir(5, "/evidence");
    flood(&mut scene, 65_534, 20_000);
    let last = scene.mkdir(6, "/after");
    let items = scene.items();
    let gaps: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Gap(gap) => Some(gap),
            Item::Event(_) => None,
        })
        .collect();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!((gaps[0].reason, gaps[0].uid), (GapReason::Quota, Some(65_534)));
    let stored = events(&items).len() as u64;
    // The state is published after each answer.
    scene.items();
    assert_eq!(scene.recorder.state().missing[GapReason::Quota as usize], gaps[0].events.unwrap());
    // Nothing is missing that is not counted.
    assert_eq!(stored + gaps[0].events.unwrap(), last);
    let evidence = scene.ask(|reader| reader.previous(&Hierarchies::All, b"/evidence", 8).unwrap());
    assert_eq!(evidence.len(), 1);
    let horizon = scene.ask(|reader| reader.horizon().unwrap().unwrap());
    assert_eq!((horizon.after, horizon.uid), (Some(GapReason::Quota), Some(65_534)));
    assert_eq!(scene.recorder.state().segments.max(1), 1);
}

#[test]
fn what_a_user_removes_above_the_quota_does_not_stay() {
    let mut scene = scene();
    let by = || Some(task(70, 1_000, "sh"));
    scene.event(Kind::Mkdir, Some(cgroup(5, "/user")), by());
    flood(&mut scene, 1_000, 20_000);
    scene.event(Kind::Rmdir, Some(cgroup(5, "/user")), by());
    let now = ZERO + (scene.now + SECOND).cast_signed();
    let state = scene.ask(move |reader| reader.at(now, &Hierarchies::All, At::Path(b"/user")).unwrap());
    let StateAt::Known { instances, incomplete_for } = state else { panic!("{state:?}") };
    assert!(instances.is_empty(), "{instances:?}");
    assert_eq!(incomplete_for, [1_000]);
}

#[test]
fn root_has_no_quota_and_users_are_counted_separately() {
    let mut scene = scene();
    flood(&mut scene, 0, 500);
    flood(&mut scene, 1_000, 2_000);
    flood(&mut scene, 1_001, 2);
    let items = scene.items();
    let of =
        |uid: u32| events(&items).iter().filter(|event| event.by.as_ref().unwrap().task.uid == uid).count();
    assert_eq!((of(0), of(1_001)), (1_000, 4));
    assert!((500..3_000).contains(&of(1_000)), "{}", of(1_000));
}

#[test]
fn a_gap_is_returned_once_whatever_the_size_of_a_page() {
    let mut scene = scene();
    for id in 0..4_000 {
        let uid = if id % 10 == 0 { 0 } else { 1_000 };
        scene.event(Kind::Mkdir, Some(cgroup(id, &format!("/a/{id}"))), Some(task(70, uid, "sh")));
        scene.wait_for_room();
    }
    for newest_first in [false, true] {
        let query = cgtrace_history::EventQuery {
            max_rows: 100,
            newest_first,
            ..cgtrace_history::EventQuery::default()
        };
        let items = scene.ask(move |reader| crate::scene::all_items(reader, &query));
        let gaps =
            items.iter().filter(|item| matches!(item, Item::Gap(gap) if gap.reason == GapReason::Quota));
        assert_eq!(gaps.count(), 1);
    }
}
