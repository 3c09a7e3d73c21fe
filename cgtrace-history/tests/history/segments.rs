//! Many segments: nothing is lost between them, and the oldest are removed.

use std::{path::Path, time::Duration};

use cgtrace_common::Kind;
use cgtrace_history::{At, EventQuery, Gap, GapReason, Hierarchies, Item, Options, StateAt};

use crate::scene::{SECOND, Scene, ZERO, all_items, cgroup, events, fill, live, open, small};

fn check_many(folder: Option<&Path>) {
    let mut scene = Scene::start(small(folder), 100 * SECOND);
    scene.live(vec![live(3, "/old")]);
    scene.mkdir(5, "/a");
    let early = ZERO + scene.now.cast_signed();
    fill(&mut scene, 4);
    scene.rmdir(5, "/a");
    let items = scene.items();
    let seqs: Vec<_> = events(&items).iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=scene.seq).collect::<Vec<_>>());
    // It lived across segments, and is one instance.
    let found = scene.ask(|reader| reader.previous(&Hierarchies::All, b"/a", 8).unwrap());
    assert_eq!(found.len(), 1);
    let created = found[0].creation.as_ref().unwrap();
    assert_eq!((created.at.boot_ns, created.by.as_ref().unwrap().task.pid), (101 * SECOND, 1));
    let at = |wall_ns: i64| {
        let state = scene.ask(move |reader| reader.at(wall_ns, &Hierarchies::All, At::Below(b"/")).unwrap());
        let StateAt::Known { instances, .. } = state else { panic!("{state:?}") };
        instances
            .iter()
            .map(|one| String::from_utf8(one.cgroup.path.clone().unwrap()).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(at(early), ["/a", "/old"]);
    assert_eq!(at(ZERO + scene.now.cast_signed()), ["/old"]);
    scene.end();
}

#[test]
fn segments_in_memory_are_one_history() {
    check_many(None);
}

#[test]
fn segments_on_disk_are_one_history() {
    let folder = tempfile::tempdir().unwrap();
    check_many(Some(folder.path()));
    // Each closed segment can be read alone.
    let names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect();
    assert!(names.len() >= 4 && names.iter().all(|name| name.strip_suffix(".db").is_some()), "{names:?}");
}

#[test]
fn the_oldest_segments_are_removed_and_the_answers_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(small(Some(folder.path())), 100 * SECOND);
    scene.mkdir(5, "/a");
    scene.rmdir(5, "/a");
    let oldest = |scene: &Scene| scene.ask(|reader| reader.horizon().unwrap().unwrap());
    let mut id = 0;
    while oldest(&scene).after.is_none() {
        for _ in 0..2_000 {
            id += 1;
            scene.event(Kind::Mkdir, Some(cgroup(id, &format!("/churn/{id}"))), None);
        }
        let state = scene.recorder.state();
        assert!(state.bytes <= (4 << 20) + (1 << 19), "{state:?}");
    }
    let horizon = oldest(&scene);
    assert_eq!(horizon.after, Some(GapReason::Retention));
    let items = scene.items();
    let Item::Gap(Gap { reason, after_seq, until_seq, events: missing, .. }) = items[0] else { panic!() };
    let first = events(&items)[0].seq;
    assert_eq!(
        (reason, after_seq, until_seq, missing),
        (GapReason::Retention, 0, first - 1, Some(first - 1))
    );
    assert!(scene.ask(|reader| reader.previous(&Hierarchies::All, b"/a", 8).unwrap()).is_empty());
    let long_ago = ZERO + 101 * SECOND.cast_signed();
    let state = scene.ask(move |reader| reader.at(long_ago, &Hierarchies::All, At::Path(b"/a")).unwrap());
    assert!(
        matches!(&state, StateAt::Unknown { gap: Some(gap), .. } if gap.reason == GapReason::Retention),
        "{state:?}"
    );
}

#[test]
fn removed_events_are_counted_within_a_run_only() {
    let (recorder, opened) = open(small(None));
    let mut scene = Scene { recorder, seq: 5_000_000, opened, now: 100 * SECOND, zero: ZERO };
    scene.begin(false);
    // More than fits.
    for id in 0..100_000 {
        scene.event(Kind::Mkdir, Some(cgroup(id, &format!("/churn/{id}"))), None);
        scene.wait_for_room();
    }
    let gap_after = |after_seq| {
        let query = EventQuery { after_seq, ..EventQuery::default() };
        match scene.ask(move |reader| all_items(reader, &query)).remove(0) {
            Item::Gap(gap) => (gap.reason, gap.events.map(|events| events == gap.until_seq - after_seq)),
            Item::Event(event) => panic!("{event:?}"),
        }
    };
    assert_eq!(gap_after(5_000_000), (GapReason::Retention, Some(true)));
    // Which of the numbers before the run were given out is not known.
    assert_eq!(gap_after(4_999_999), (GapReason::Retention, None));
    assert_eq!(gap_after(0), (GapReason::Retention, None));
}

#[test]
fn old_segments_are_removed_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { max_age: Some(Duration::from_hours(72)), ..small(Some(folder.path())) };
    let mut scene = Scene::start(options, 100 * SECOND);
    for day in 1..8 {
        scene.mkdir(day, &format!("/day/{day}"));
        let stored = scene.recorder.state().stored;
        while scene.recorder.state().stored == stored {
            std::thread::sleep(Duration::from_millis(5));
        }
        scene.now += 86_400 * SECOND;
    }
    let items = scene.items();
    let days: Vec<_> = events(&items).iter().map(|event| event.seq).collect();
    assert!(days.len() >= 3 && days.len() <= 5 && days.ends_with(&[6, 7]), "{days:?}");
}

/// The next segment does not have the rename, which has no event for each descendant.
#[test]
fn a_segment_begins_with_the_paths_after_a_rename() {
    let mut scene = Scene::start(small(None), 100 * SECOND);
    for (id, path) in [(5, "/a"), (6, "/a/b"), (7, "/a/b/c"), (8, "/other")] {
        scene.mkdir(id, path);
    }
    let mut rename = scene.new_event(Kind::Rename, Some(cgroup(5, "/z")), None);
    rename.from = Some(cgroup(5, "/a"));
    scene.record(rename);
    fill(&mut scene, 3);
    let now = scene.zero + scene.now.cast_signed();
    let state = scene.ask(move |reader| reader.at(now, &Hierarchies::All, At::Below(b"/")).unwrap());
    let StateAt::Known { instances, .. } = state else { panic!("{state:?}") };
    let paths: Vec<String> =
        instances.into_iter().map(|one| String::from_utf8(one.cgroup.path.unwrap()).unwrap()).collect();
    assert_eq!(paths, ["/other", "/z", "/z/b", "/z/b/c"]);
}

#[test]
fn an_instance_whose_removal_was_missed_comes_after_the_later_ones() {
    let mut scene = Scene::start(small(None), 100 * SECOND);
    scene.mkdir(5, "/x");
    // Its removal is not recorded.
    scene.mkdir(6, "/x");
    scene.rmdir(6, "/x");
    fill(&mut scene, 3);
    scene.live(vec![]);
    let found = scene.ask(|reader| reader.previous(&Hierarchies::All, b"/x", 8).unwrap());
    assert_eq!(found.iter().map(|instance| instance.cgroup.id.0).collect::<Vec<_>>(), [6, 5]);
    assert!(matches!(found[1].end, Some(cgtrace_history::End::During(_))), "{found:?}");
}
