//! Instances: created, renamed, removed.

use cgtrace_common::{CgroupId, Kind};
use cgtrace_history::{End, EntryCreation, Hierarchies, Options, Origin, RemovedQuery, StoredInstance};

use crate::scene::{SECOND, Scene, cgroup, cgroup_on, live, options, removed_pages, task};

fn previous(scene: &Scene, path: &'static str) -> Vec<StoredInstance> {
    scene.ask(move |reader| reader.previous(&Hierarchies::All, path.as_bytes(), 8).unwrap())
}

fn ids(instances: &[StoredInstance]) -> Vec<u64> {
    instances.iter().map(|instance| instance.cgroup.id.0).collect()
}

#[test]
fn a_previous_instance_has_both_ends_and_both_tasks() {
    let mut scene = Scene::in_memory();
    scene.mkdir(5, "/a");
    scene.rmdir(5, "/a");
    let found = previous(&scene, "/a");
    assert_eq!(ids(&found), [5]);
    let created = found[0].creation.as_ref().unwrap();
    assert_eq!((created.at.boot_ns, created.origin), (101 * SECOND, Origin::Observed));
    let by = created.by.as_ref().unwrap();
    assert_eq!(
        (by.task.pid, &by.task.comm[..8], by.cgroup.as_deref()),
        (1, &b"systemd\0"[..], Some(&b"/init.scope"[..]))
    );
    let Some(End::Event(end)) = &found[0].end else { panic!("{found:?}") };
    assert_eq!((end.kind, end.at.boot_ns, end.by.as_ref().unwrap().task.pid), (Kind::Rmdir, 102 * SECOND, 2));
    assert_eq!(end.at.wall_ns, crate::scene::ZERO + 102 * SECOND.cast_signed());
}

#[test]
fn previous_instances_of_a_path_are_newest_first_and_without_the_current_one() {
    let mut scene = Scene::in_memory();
    for id in 5..9 {
        scene.mkdir(id, "/a");
        scene.rmdir(id, "/a");
    }
    scene.mkdir(9, "/a");
    scene.mkdir(10, "/a/b");
    scene.rmdir(10, "/a/b");
    assert_eq!(ids(&previous(&scene, "/a")), [8, 7, 6, 5]);
    let two = scene.ask(|reader| reader.previous(&Hierarchies::All, b"/a", 2).unwrap());
    assert_eq!(ids(&two), [8, 7]);
}

#[test]
fn hierarchies_are_told_apart_by_name() {
    let mut scene = Scene::in_memory();
    for hierarchy in [0, 3] {
        scene.event(Kind::Mkdir, Some(cgroup_on(hierarchy, 5, "/a")), None);
        scene.event(Kind::Rmdir, Some(cgroup_on(hierarchy, 5, "/a")), None);
    }
    let of = |name: &str| {
        let name = Hierarchies::Named(name.to_owned());
        scene.ask(move |reader| {
            let by_path = reader.previous(&name, b"/a", 8).unwrap();
            let by_id = reader.previous_by_id(&name, CgroupId(5)).unwrap().unwrap();
            assert_eq!(by_path, [by_id]);
            by_path[0].cgroup.hierarchy.0
        })
    };
    assert_eq!((of("v2"), of("pids")), (0, 3));
    assert_eq!(previous(&scene, "/a").len(), 2);
}

#[test]
fn a_removal_without_a_stored_creation_brings_its_own() {
    let mut scene = Scene::in_memory();
    let mut event = scene.new_event(Kind::Rmdir, Some(cgroup(5, "/a")), None);
    event.creation =
        Some(EntryCreation { boot_ns: 7, origin: Origin::Preexisting, by: Some(task(4, 0, "x")) });
    scene.record(event);
    let found = previous(&scene, "/a");
    let created = found[0].creation.as_ref().unwrap();
    assert_eq!((created.at.boot_ns, created.origin), (7, Origin::Preexisting));
    assert_eq!(created.by.as_ref().unwrap().task.pid, 4);
}

#[test]
fn a_renamed_cgroup_is_a_previous_instance_of_its_last_path() {
    let mut scene = Scene::in_memory();
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 5, "/a")), None);
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 6, "/a/b")), None);
    let mut rename = scene.new_event(Kind::Rename, Some(cgroup_on(3, 5, "/z")), None);
    rename.from = Some(cgroup_on(3, 5, "/a"));
    scene.record(rename);
    // The child's events report its new path.
    scene.event(Kind::Rmdir, Some(cgroup_on(3, 6, "/z/b")), None);
    scene.event(Kind::Rmdir, Some(cgroup_on(3, 5, "/z")), None);
    assert_eq!(ids(&previous(&scene, "/z")), [5]);
    assert_eq!(ids(&previous(&scene, "/z/b")), [6]);
    assert_eq!((previous(&scene, "/a"), previous(&scene, "/a/b")), (Vec::new(), Vec::new()));
    let created = previous(&scene, "/z/b")[0].creation.clone().unwrap();
    assert_eq!((created.at.boot_ns, created.origin), (102 * SECOND, Origin::Observed));
    let items = scene.items();
    let renamed = crate::scene::events(&items)[2];
    assert_eq!(renamed.from.as_ref().unwrap().path.as_deref(), Some(&b"/a"[..]));
    assert_eq!(renamed.cgroup.as_ref().unwrap().path.as_deref(), Some(&b"/z"[..]));
}

#[test]
fn a_move_between_two_cgroups_whose_parent_was_renamed_shows_both_new_paths() {
    let mut scene = Scene::in_memory();
    for (id, path) in [(5, "/a"), (6, "/a/b"), (7, "/a/c")] {
        scene.event(Kind::Mkdir, Some(cgroup_on(3, id, path)), None);
    }
    let mut rename = scene.new_event(Kind::Rename, Some(cgroup_on(3, 5, "/z")), None);
    rename.from = Some(cgroup_on(3, 5, "/a"));
    scene.record(rename);
    let mut attach = scene.new_event(Kind::Attach, Some(cgroup_on(3, 6, "/z/b")), None);
    attach.from = Some(cgroup_on(3, 7, "/z/c"));
    scene.record(attach);
    for (id, path) in [(6, "/z/b"), (7, "/z/c")] {
        scene.event(Kind::Rmdir, Some(cgroup_on(3, id, path)), None);
    }
    let items = scene.items();
    let attach = crate::scene::events(&items)[4];
    let path = |cgroup: &Option<cgtrace_history::StoredCgroup>| cgroup.clone().unwrap().path.unwrap();
    assert_eq!((path(&attach.cgroup), path(&attach.from)), (b"/z/b".to_vec(), b"/z/c".to_vec()));
    for (id, path, former) in [(6, "/z/b", "/a/b"), (7, "/z/c", "/a/c")] {
        let found = previous(&scene, path);
        assert_eq!(ids(&found), [id]);
        assert_eq!(found[0].creation.as_ref().unwrap().at.boot_ns, (96 + id) * SECOND);
        assert_eq!(previous(&scene, former), []);
    }
    assert_eq!(scene.recorder.state().failure, None);
}

#[test]
fn a_path_that_becomes_known_later_is_filled_in() {
    let mut scene = Scene::in_memory();
    let unnamed = cgtrace_history::EntryCgroup { path: None, ..cgroup(5, "/") };
    scene.event(Kind::Rmdir, Some(unnamed), None);
    scene.recorder.record(cgtrace_history::Entry::Named { cgroup: cgroup(5, "/x/a") });
    assert_eq!(ids(&previous(&scene, "/x/a")), [5]);
}

#[test]
fn the_end_of_a_hierarchy_ends_its_cgroups() {
    let mut scene = Scene::in_memory();
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 5, "/a")), None);
    scene.mkdir(5, "/a");
    scene.event(Kind::HierarchyDestroyed, Some(cgroup_on(3, 1, "/")), None);
    // The id is used again, by another hierarchy with cgroups of the same ids.
    scene.event(Kind::HierarchyCreated, Some(cgroup_on(3, 1, "/")), None);
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 5, "/b")), None);
    scene.event(Kind::Rmdir, Some(cgroup_on(3, 5, "/b")), None);
    let found = previous(&scene, "/a");
    assert_eq!(found.len(), 1);
    assert!(matches!(&found[0].end, Some(End::Event(end)) if end.kind == Kind::HierarchyDestroyed));
    assert_eq!(ids(&previous(&scene, "/b")), [5]);
}

#[test]
fn the_live_set_gives_existing_cgroups_their_creation() {
    let mut scene = Scene::in_memory();
    // An event before the initial scan was merged.
    scene.event(Kind::Populated, Some(cgroup(5, "/a")), None);
    scene.live(vec![live(5, "/a"), live(6, "/b")]);
    scene.rmdir(5, "/a");
    scene.rmdir(6, "/b");
    for path in ["/a", "/b"] {
        let found = previous(&scene, path);
        let created = found[0].creation.as_ref().unwrap();
        assert_eq!((created.at.boot_ns, created.origin), (5, Origin::Preexisting), "{path}");
    }
}

#[test]
fn a_wrongly_inferred_removal_is_undone_by_the_live_set() {
    let mut scene = Scene::in_memory();
    scene.mkdir(5, "/a");
    let mut event = scene.new_event(Kind::Rmdir, Some(cgroup(5, "/a")), None);
    event.inferred = true;
    scene.record(event);
    scene.live(vec![live(5, "/a")]);
    assert!(previous(&scene, "/a").is_empty());
    scene.rmdir(5, "/a");
    let found = previous(&scene, "/a");
    assert_eq!((ids(&found), found[0].creation.as_ref().unwrap().at.boot_ns), (vec![5], 101 * SECOND));
}

#[test]
fn a_hierarchy_that_replaces_another_ends_its_cgroups() {
    let mut scene = Scene::in_memory();
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 5, "/a")), None);
    scene.event(Kind::HierarchyCreated, Some(cgroup_on(3, 1, "/")), None);
    let found = previous(&scene, "/a");
    assert!(
        matches!(&found[0].end, Some(End::Event(end)) if end.kind == Kind::HierarchyCreated),
        "{found:?}"
    );
}

#[test]
fn a_cgroup_whose_path_was_never_known_makes_no_gap() {
    let mut scene = Scene::in_memory();
    let unknown = cgtrace_history::EntryCgroup { path: None, ..cgroup_on(0, 5, "/") };
    scene.event(Kind::Mkdir, Some(unknown), None);
    let before = scene.items();
    // It was created and removed during the first scan.
    scene.live(vec![live(6, "/b")]);
    assert_eq!(scene.items(), before);
    assert!(scene.ask(|reader| reader.previous_by_id(&Hierarchies::All, CgroupId(5)).unwrap()).is_none());
}

#[test]
fn removed_cgroups_are_listed_by_time() {
    let mut scene = Scene::in_memory();
    for id in 5..9 {
        scene.mkdir(id, &format!("/a{id}"));
    }
    for id in [7, 5, 8] {
        scene.rmdir(id, &format!("/a{id}"));
    }
    let removed = |since_wall_ns: i64, until_wall_ns: i64| {
        let query = RemovedQuery { since_wall_ns, until_wall_ns, ..RemovedQuery::default() };
        scene.ask(move |reader| {
            let pages = removed_pages(reader, &query, &mut |path| path != Some(b"/a5"));
            ids(&pages.concat())
        })
    };
    assert_eq!(removed(i64::MIN, i64::MAX), [8, 7]);
    let of_the_last = crate::scene::ZERO + 107 * SECOND.cast_signed();
    assert_eq!(removed(of_the_last, i64::MAX), [8]);
    assert_eq!(removed(i64::MIN, of_the_last - 1), [7]);
}

#[test]
fn paths_of_removed_cgroups_are_read_page_by_page() {
    let mut scene = Scene::start(Options { max_bytes: 1 << 20, ..options(None) }, 100 * SECOND);
    for id in 0..5_000 {
        scene.mkdir(id, &format!("/a{id}"));
        scene.rmdir(id, &format!("/a{id}"));
        scene.wait_for_room();
    }
    scene.mkdir(9_000, "/exists");
    for max_rows in [1, 7, 100, 1_000_000] {
        let paths = scene.ask(move |reader| {
            let (mut paths, mut before) = (Vec::new(), None);
            loop {
                let page = reader.removed_paths(before, max_rows).unwrap();
                assert!(page.paths.len() <= max_rows);
                paths.extend(page.paths.into_iter().map(|(_, path)| String::from_utf8(path).unwrap()));
                before = page.next;
                if before.is_none() {
                    return paths;
                }
            }
        });
        // Older ones are no longer stored.
        let expected: Vec<String> = (0..5_000).rev().map(|id| format!("/a{id}")).take(paths.len()).collect();
        assert!(paths == expected && paths.len() > 1_000, "{max_rows}: {} paths", paths.len());
    }
}
