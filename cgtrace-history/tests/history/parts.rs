//! The state at a time, read in parts, while the daemon goes on.

use std::collections::BTreeMap;

use cgtrace_common::Kind;
use cgtrace_history::{
    At, AtQuery, Entry, EntryCgroup, EntryCreation, EntryLive, GapReason, Hierarchies, LiveSet, Origin,
    StateAt,
};

use crate::scene::{SECOND, Scene, ZERO, cgroup, cgroup_on, fill, live, options, small};

const EVERYTHING: At<'static> = At::Below(b"/");

fn wall_ns(second: u64) -> i64 {
    ZERO + (second * SECOND).cast_signed()
}

/// The state at a second of the boot clock, in one part.
fn whole(scene: &Scene, second: u64, on: &Hierarchies, which: At<'static>) -> StateAt {
    let on = on.clone();
    scene.ask(move |reader| reader.at(wall_ns(second), &on, which).unwrap())
}

/// The same in parts, all of which the history answers before anything else.
fn in_parts(scene: &Scene, second: u64, on: &Hierarchies, which: At<'static>, max_rows: usize) -> StateAt {
    let mut query = AtQuery::new(wall_ns(second), on.clone(), which);
    scene.ask(move |reader| {
        while !reader.read_at(&mut query, max_rows).unwrap() {}
        query.finish()
    })
}

/// One part, and whether it was the last one.
fn next(scene: &Scene, mut query: AtQuery, max_rows: usize) -> (bool, AtQuery) {
    scene.ask(move |reader| (reader.read_at(&mut query, max_rows).unwrap(), query))
}

fn rest(scene: &Scene, mut query: AtQuery) -> StateAt {
    loop {
        let (is_last, next) = next(scene, query, 2);
        if is_last {
            return next.finish();
        }
        query = next;
    }
}

fn paths(state: &StateAt) -> Vec<String> {
    let StateAt::Known { instances, .. } = state else { panic!("{state:?}") };
    let path = |path: &Option<Vec<u8>>| String::from_utf8(path.clone().unwrap()).unwrap();
    instances.iter().map(|one| path(&one.cgroup.path)).collect()
}

fn rename(scene: &mut Scene, from: EntryCgroup, path: &str) {
    let to = EntryCgroup { path: Some(path.as_bytes().into()), ..from.clone() };
    let mut event = scene.new_event(Kind::Rename, Some(to), None);
    event.from = Some(from);
    scene.record(event);
}

fn compare(scene: &Scene, seconds: &[u64]) {
    let all = [
        EVERYTHING,
        At::Below(b"/a"),
        At::Below(b"/churn/1001"),
        At::Below(b"/none"),
        At::Path(b"/"),
        At::Path(b"/a/b"),
        At::Path(b"/a/again"),
        At::Path(b"/z/b"),
    ];
    let hierarchies = [Hierarchies::All, Hierarchies::Named("pids".into())];
    for (on, which) in hierarchies.iter().flat_map(|on| all.map(|which| (on, which))) {
        for second in seconds {
            let expected = whole(scene, *second, on, which);
            for max_rows in [1, 2, 3, 7] {
                let found = in_parts(scene, *second, on, which, max_rows);
                assert_eq!(found, expected, "{which:?} on {on:?} at {second}, {max_rows} rows");
            }
        }
    }
}

#[test]
fn the_size_of_a_part_does_not_change_the_answer() {
    let mut scene = Scene::start(small(None), 100 * SECOND);
    scene.live(vec![live(1, "/"), live(3, "/old"), live(4, "/old/x")]);
    for (id, path) in (10..).zip(["/a", "/a/b", "/a/b/c", "/a-sibling", "/a.sibling", "/a0"]) {
        scene.mkdir(id, path);
        scene.event(Kind::Mkdir, Some(cgroup_on(3, id, path)), None);
    }
    // One name, many times: with other cgroups before and after it.
    for id in 100..120 {
        scene.mkdir(id, "/a/again");
        scene.rmdir(id, "/a/again");
    }
    scene.mkdir(120, "/a/again");
    scene.mkdir(121, "/a/z");
    scene.rmdir(4, "/old/x");
    let before_renames = scene.now / SECOND;
    compare(&scene, &[99, 100, 103, before_renames - 30, before_renames]);
    fill(&mut scene, 2);
    rename(&mut scene, cgroup(10, "/a"), "/z");
    scene.mkdir(130, "/a");
    rename(&mut scene, cgroup(11, "/z/b"), "/z/d");
    compare(&scene, &[103, scene.now / SECOND - 3, scene.now / SECOND - 1, scene.now / SECOND]);
    assert_eq!(
        paths(&whole(&scene, scene.now / SECOND, &Hierarchies::Named("v2".into()), At::Below(b"/z"))),
        ["/z", "/z/again", "/z/d", "/z/d/c", "/z/z"]
    );
    let in_first = whole(&scene, before_renames, &Hierarchies::Named("v2".into()), At::Below(b"/a"));
    assert_eq!(paths(&in_first), ["/a", "/a/again", "/a/b", "/a/b/c", "/a/z"]);
}

/// Random creations, removals and renames of whole subtrees, compared with a map of paths.
#[test]
fn random_renames_lead_to_the_paths_that_the_cgroups_had() {
    for seed in 1..20_u64 {
        let mut scene = Scene::in_memory();
        let mut state = seed;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        let mut existing: BTreeMap<String, u64> = BTreeMap::new();
        let mut expected = Vec::new();
        for id in 10..110 {
            let of_any = |at: usize| existing.iter().nth(at).map(|(path, id)| (path.clone(), *id)).unwrap();
            let parent = match random(existing.len() + 1) {
                0 => String::new(),
                at => of_any(at - 1).0,
            };
            let new = format!("{parent}/{}", ["a", "b", "c"][random(3)]);
            let is_free = !existing.contains_key(&new);
            match random(3) {
                0 if is_free => {
                    scene.mkdir(id, &new);
                    existing.insert(new, id);
                }
                _ if existing.is_empty() => {}
                1 => {
                    let (path, id) = of_any(random(existing.len()));
                    let below = format!("{path}/");
                    if !existing.keys().any(|other| other.starts_with(&below)) {
                        scene.rmdir(id, &path);
                        existing.remove(&path);
                    }
                }
                _ => {
                    let (path, id) = of_any(random(existing.len()));
                    let below = format!("{path}/");
                    if is_free && !format!("{new}/").starts_with(&below) {
                        rename(&mut scene, cgroup(id, &path), &new);
                        existing = existing
                            .into_iter()
                            .map(|(other, id)| match other.strip_prefix(&path) {
                                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                                    (format!("{new}{rest}"), id)
                                }
                                _ => (other, id),
                            })
                            .collect();
                    }
                }
            }
            expected.push((scene.now / SECOND, existing.keys().cloned().collect::<Vec<_>>()));
        }
        for (second, existing) in expected {
            let found = paths(&whole(&scene, second, &Hierarchies::All, EVERYTHING));
            assert_eq!(found, existing, "seed {seed}, second {second}");
            let below: Vec<_> =
                existing.into_iter().filter(|path| path == "/a" || path.starts_with("/a/")).collect();
            let found = paths(&in_parts(&scene, second, &Hierarchies::All, At::Below(b"/a"), 2));
            assert_eq!(found, below, "seed {seed}, second {second}");
        }
    }
}

#[test]
fn what_is_stored_between_the_parts_does_not_change_the_answer() {
    for which in [EVERYTHING, At::Below(b"/a")] {
        for parts in 0..12 {
            let mut scene = Scene::in_memory();
            for (id, path) in (10..).zip(["/a", "/a/b", "/a/c", "/a/d", "/a/e", "/a/e/f"]) {
                scene.mkdir(id, path);
            }
            // Also of a time that is not over yet.
            for second in [scene.now / SECOND, scene.now / SECOND + 100] {
                let expected = whole(&scene, second, &Hierarchies::All, which);
                let mut query = AtQuery::new(wall_ns(second), Hierarchies::All, which);
                for _ in 0..parts {
                    query = next(&scene, query, 1).1;
                }
                if parts > 0 {
                    scene.rmdir(11, "/a/b");
                    rename(&mut scene, cgroup(12, "/a/c"), "/a/late");
                    rename(&mut scene, cgroup(13, "/a/d"), "/a/b");
                    rename(&mut scene, cgroup(14, "/a/e"), "/a/0");
                    scene.mkdir(20, "/a/a");
                }
                assert_eq!(rest(&scene, query), expected, "{which:?} after {parts} parts");
                if parts > 0 {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_cgroup_that_a_live_set_shows_between_the_parts_is_reported_once() {
    for which in [EVERYTHING, At::Below(b"/a")] {
        for parts in 1..12 {
            // Its end is in the gap between the runs.
            let folder = tempfile::tempdir().unwrap();
            Scene::start(options(Some(folder.path())), 50 * SECOND).end();
            let mut scene = Scene::start(options(Some(folder.path())), 100 * SECOND);
            scene.live(vec![live(10, "/a"), live(11, "/a/b"), live(12, "/a/c")]);
            let mut query = AtQuery::new(wall_ns(scene.now / SECOND), Hierarchies::All, which);
            for _ in 0..parts {
                query = next(&scene, query, 1).1;
            }
            // Its rename was not seen: its new row is as old as the others.
            let creation = EntryCreation { boot_ns: 5, origin: Origin::Preexisting, by: None };
            let cgroups = [(10, "/a"), (11, "/a/0"), (12, "/a/c")]
                .map(|(id, path)| EntryLive { cgroup: cgroup(id, path), creation: creation.clone() });
            let live = LiveSet {
                boot_ns: scene.now,
                zero_wall_ns: scene.zero,
                hierarchies: vec![cgtrace_common::UNIFIED],
                cgroups: cgroups.into(),
            };
            scene.recorder.record(Entry::Live(Box::new(live)));
            let found = paths(&rest(&scene, query));
            let (old, new) = (["/a", "/a/b", "/a/c"], ["/a", "/a/0", "/a/c"]);
            assert!(found == old || found == new, "{which:?} after {parts} parts: {found:?}");
        }
    }
}

#[test]
fn a_segment_that_is_removed_between_the_parts_leaves_no_wrong_answer() {
    let folder = tempfile::tempdir().unwrap();
    for folder in [None, Some(folder.path())] {
        let mut scene = Scene::start(small(folder), 100 * SECOND);
        for (id, path) in (10..).zip(["/a", "/a/b", "/a/c"]) {
            scene.mkdir(id, path);
        }
        let second = scene.now / SECOND;
        let query = || next(&scene, AtQuery::new(wall_ns(second), Hierarchies::All, EVERYTHING), 2);
        let (queries, expected) = ([query(), query()], whole(&scene, second, &Hierarchies::All, EVERYTHING));
        let [(is_last, early), (_, late)] = queries;
        assert!(!is_last && paths(&expected) == ["/a", "/a/b", "/a/c"]);
        // It is no longer written to, but still there.
        fill(&mut scene, 3);
        assert_eq!(rest(&scene, early), expected);
        while scene.ask(|reader| reader.horizon().unwrap().unwrap()).after.is_none() {
            for id in 10_000..12_000 {
                let path = format!("/fill/{id}");
                scene.mkdir(id, &path);
                scene.rmdir(id, &path);
            }
            scene.wait_for_room();
        }
        let state = rest(&scene, late);
        assert_eq!(state, whole(&scene, second, &Hierarchies::All, EVERYTHING));
        let StateAt::Unknown { gap: Some(gap), oldest: Some(oldest) } = state else { panic!("{state:?}") };
        assert_eq!((gap.reason, gap.until), (GapReason::Retention, oldest));
        scene.end();
    }
}

#[test]
fn an_answer_that_is_not_read_claims_nothing() {
    let mut scene = Scene::start(options(None), 100 * SECOND);
    scene.mkdir(10, "/a");
    let query = || AtQuery::new(wall_ns(101), Hierarchies::All, EVERYTHING);
    let unknown = StateAt::Unknown { gap: None, oldest: None };
    assert_eq!(query().finish(), unknown);
    let (is_last, query) = next(&scene, query(), 0);
    assert!(!is_last);
    assert_eq!(query.finish(), unknown);
}
