//! Removed cgroups, page by page.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use cgtrace_common::Kind;
use cgtrace_history::{Archive, End, GapReason, Hierarchies, Options, RemovedQuery, StoredInstance};

use crate::{
    quota::flood,
    scene::{
        SECOND, Scene, ZERO, cgroup, cgroup_on, events, fill, live, options, removed_pages, small, task,
    },
};

/// All pages of a query.
fn pages(scene: &Scene, query: &RemovedQuery) -> Vec<Vec<StoredInstance>> {
    let query = query.clone();
    scene.ask(move |reader| removed_pages(reader, &query, &mut |_| true))
}

/// A query without limits.
fn unlimited() -> RemovedQuery {
    RemovedQuery { max_rows: usize::MAX, ..RemovedQuery::default() }
}

/// The only page of a query.
fn one_page(scene: &Scene, query: &RemovedQuery) -> Vec<StoredInstance> {
    let mut pages = pages(scene, query);
    assert_eq!(pages.len(), 1);
    pages.remove(0)
}

/// The path of each, and what ended it: `-` is an rmdir.
fn ends(instances: &[StoredInstance]) -> Vec<String> {
    let line = |instance: &StoredInstance| {
        let path = String::from_utf8_lossy(instance.cgroup.path.as_deref().unwrap_or(b"?")).into_owned();
        match &instance.end {
            Some(End::Event(end)) if end.kind == Kind::Rmdir => format!("- {path}"),
            Some(End::Event(end)) => format!("{} {path}", end.kind.as_str()),
            Some(End::During(gap)) => format!("({}) {path}", gap.reason.as_str()),
            None => panic!("{instance:?}"),
        }
    };
    instances.iter().map(line).collect()
}

/// Three segments with every way in which a cgroup can end, between cgroups of `/churn` and `/user`.
fn varied(folder: &Path) -> Scene {
    let mut scene = Scene::start(small(Some(folder)), 100 * SECOND);
    scene.live(vec![live(3, "/old")]);
    for id in [20, 21] {
        scene.mkdir(id, "/same");
        scene.rmdir(id, "/same");
    }
    // The gap has the number of the last event.
    scene.mkdir(10, "/missed");
    scene.mkdir(11, "/before");
    scene.rmdir(11, "/before");
    scene.live(vec![live(3, "/old")]);
    for id in 5..9 {
        scene.mkdir(id, &format!("/paused/{id}"));
    }
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 30, "/x")), None);
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 31, "/x/child")), None);
    let mut rename = scene.new_event(Kind::Rename, Some(cgroup_on(3, 30, "/y")), None);
    rename.from = Some(cgroup_on(3, 30, "/x"));
    scene.record(rename);
    scene.event(Kind::Rmdir, Some(cgroup_on(3, 31, "/y/child")), None);
    fill(&mut scene, 2);
    for id in 32..35 {
        scene.event(Kind::Mkdir, Some(cgroup_on(3, id, &format!("/y/{id}"))), None);
    }
    scene.event(Kind::HierarchyDestroyed, Some(cgroup_on(3, 1, "/")), None);
    fill(&mut scene, 3);
    let later = scene.now + SECOND;
    scene.end();
    let mut scene = Scene::start(small(Some(folder)), later);
    scene.live(vec![live(3, "/old"), live(8, "/paused/8")]);
    scene.rmdir(3, "/old");
    for id in 40..43 {
        scene.mkdir(id, &format!("/users/{id}"));
    }
    flood(&mut scene, 1_000, 500);
    for id in 40..43 {
        scene.event(Kind::Rmdir, Some(cgroup(id, &format!("/users/{id}"))), Some(task(70, 1_000, "sh")));
    }
    scene.rmdir(8, "/paused/8");
    scene
}

#[test]
fn every_end_is_returned_once_and_the_last_one_first() {
    let folder = tempfile::tempdir().unwrap();
    let scene = varied(folder.path());
    let all = one_page(&scene, &unlimited());
    let numbers: Vec<u64> = all
        .iter()
        .map(|instance| match instance.end.as_ref().unwrap() {
            End::Event(end) => end.seq,
            End::During(gap) => gap.until_seq,
        })
        .collect();
    assert!(numbers.is_sorted_by(|later, earlier| later >= earlier), "{numbers:?}");
    let items = scene.items();
    let removals = events(&items).iter().filter(|event| event.kind == Kind::Rmdir).count();
    let ends = ends(&all);
    assert_eq!(ends.iter().filter(|end| end.starts_with("- ")).count(), removals);
    let others: Vec<&str> = ends
        .iter()
        .map(String::as_str)
        .filter(|end| !end.starts_with("- /churn/") && !end.starts_with("- /user/"))
        .collect();
    let expected = [
        "- /paused/8",
        "(quota) /users/42",
        "(quota) /users/41",
        "(quota) /users/40",
        "- /old",
        "(stopped) /paused/7",
        "(stopped) /paused/6",
        "(stopped) /paused/5",
        "hierarchy-destroyed /y/34",
        "hierarchy-destroyed /y/33",
        "hierarchy-destroyed /y/32",
        "hierarchy-destroyed /y",
        "hierarchy-destroyed /",
        "- /y/child",
        "(queue) /missed",
        "- /before",
        "- /same",
        "- /same",
    ];
    assert_eq!(others, expected);
}

#[test]
fn pages_of_any_size_make_the_same_answer() {
    let folder = tempfile::tempdir().unwrap();
    let scene = varied(folder.path());
    let all = one_page(&scene, &unlimited());
    for max_rows in [1, 2, 3, 7, 4_096] {
        let query = RemovedQuery { max_rows, ..unlimited() };
        assert!(pages(&scene, &query).concat() == all, "{max_rows} rows");
    }
    for max in [1, 5] {
        let query = RemovedQuery { max, ..unlimited() };
        let pages = pages(&scene, &query);
        let (_, full) = pages.split_last().unwrap();
        assert!(full.iter().all(|page| page.len() == max) && pages.concat() == all, "{max} instances");
    }
    // The hierarchy and the times select the same of every page.
    let named = RemovedQuery { hierarchies: Hierarchies::Named("pids".to_owned()), ..unlimited() };
    let since_wall_ns = ZERO + (scene.now - 600 * SECOND).cast_signed();
    let until_wall_ns = ZERO + (scene.now - SECOND).cast_signed();
    for query in [named, RemovedQuery { since_wall_ns, until_wall_ns, ..unlimited() }] {
        let selected = one_page(&scene, &query);
        assert!(!selected.is_empty() && selected.len() < all.len());
        assert!(pages(&scene, &RemovedQuery { max_rows: 3, ..query }).concat() == selected);
    }
}

#[test]
fn a_damaged_segment_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let scene = varied(folder.path());
    let complete = one_page(&scene, &unlimited());
    scene.end();
    let file = fs::OpenOptions::new().write(true).open(folder.path().join("segment-000002.db")).unwrap();
    let bytes = file.metadata().unwrap().len();
    // Its header stays.
    file.write_all_at(&vec![0xff; usize::try_from(bytes / 2).unwrap()], bytes / 2).unwrap();
    let mut archive = Archive::open(folder.path()).unwrap();
    let query = RemovedQuery { max_rows: 100, ..unlimited() };
    let found = removed_pages(&mut archive.reader(), &query, &mut |_| true).concat();
    assert!(found.len() < complete.len());
    assert!(
        ends(&found).starts_with(&ends(&complete)[..8]) && ends(&found).ends_with(&["- /same".to_owned()])
    );
}

#[test]
fn a_page_reads_a_bounded_number_of_rows() {
    let mut scene = Scene::in_memory();
    for id in 0..20_000 {
        scene.mkdir(1_000 + id, &format!("/a/{id}"));
        scene.rmdir(1_000 + id, &format!("/a/{id}"));
        scene.wait_for_room();
    }
    let query = RemovedQuery { max_rows: 4_096, ..RemovedQuery::default() };
    let all = pages(&scene, &query);
    assert_eq!((all.len(), all.concat().len()), (40_000_usize.div_ceil(4_096), 20_000));
    // Rows that do not match count, too.
    let none = scene.ask(move |reader| removed_pages(reader, &query, &mut |_| false));
    assert_eq!((none.len(), none.concat().len()), (all.len(), 0));
}

#[test]
fn what_one_event_or_one_gap_ended_is_read_in_several_pages() {
    let mut scene = Scene::in_memory();
    scene.mkdir(5, "/a");
    for id in 0..1_000 {
        scene.event(Kind::Mkdir, Some(cgroup_on(3, 10 + id, &format!("/b/{id}"))), None);
        scene.mkdir(10 + id, &format!("/c/{id}"));
        scene.wait_for_room();
    }
    scene.event(Kind::HierarchyDestroyed, Some(cgroup_on(3, 1, "/")), None);
    scene.live(vec![live(5, "/a")]);
    let query = RemovedQuery { max_rows: 100, ..RemovedQuery::default() };
    let pages = pages(&scene, &query);
    // 1,000 rows of the gap; all 2,002 rows for the hierarchy; 2,002 events, and the gap.
    assert_eq!(pages.len(), 5_005_usize.div_ceil(100));
    assert_eq!(pages.concat().len(), 2_001);
}

#[test]
fn a_page_follows_one_whose_segment_was_removed_since() {
    let mut scene = Scene::start(Options { max_bytes: 1 << 20, ..options(None) }, 100 * SECOND);
    for id in 5..8 {
        scene.mkdir(id, "/a");
        scene.rmdir(id, "/a");
    }
    let query = RemovedQuery { max: 1, ..RemovedQuery::default() };
    let ask = |scene: &Scene, query: &RemovedQuery| {
        let query = query.clone();
        scene.ask(move |reader| reader.removed(&query, &mut |_| true).unwrap())
    };
    let first = ask(&scene, &query);
    assert_eq!((ends(&first.instances), first.next.is_some()), (vec!["- /a".to_owned()], true));
    // What was removed since is not in the next page.
    let mut id = 100;
    let mut churn = |scene: &mut Scene| {
        id += 1;
        scene.mkdir(id, "/churn");
        scene.rmdir(id, "/churn");
        scene.wait_for_room();
    };
    churn(&mut scene);
    let query = RemovedQuery { after: first.next, ..query };
    let second = ask(&scene, &query);
    assert_eq!(second.instances[0].cgroup.id.0, 6);
    let retention = |scene: &Scene| scene.ask(|reader| reader.horizon().unwrap().unwrap()).after;
    while retention(&scene) != Some(GapReason::Retention) {
        for _ in 0..1_000 {
            churn(&mut scene);
        }
    }
    let second = ask(&scene, &query);
    assert!(second.instances.is_empty() && second.next.is_none(), "{second:?}");
}
