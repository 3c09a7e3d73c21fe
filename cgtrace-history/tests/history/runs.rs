//! Several runs of the daemon and several boots.

use std::sync::Arc;

use cgtrace_common::Kind;
use cgtrace_history::{Archive, End, GapReason, Hierarchies, Horizon, Item, Options};

use crate::scene::{SECOND, Scene, cgroup, events, lines, live, options};

fn horizon(scene: &Scene) -> Horizon {
    scene.ask(|reader| reader.horizon().unwrap().unwrap())
}

#[test]
fn numbers_go_on_after_a_stop_and_the_pause_is_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), 10 * SECOND);
    assert_eq!(horizon(&scene).after, None);
    scene.mkdir(5, "/a");
    scene.mkdir(6, "/b");
    scene.end();
    let mut scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    assert_eq!((scene.opened.last_seq, scene.opened.ended), (2, true));
    scene.live(vec![live(5, "/a")]);
    scene.mkdir(7, "/c");
    assert_eq!(lines(&scene.items()), ["mkdir /a", "mkdir /b", "(stopped None)", "mkdir /c"]);
    let Horizon { since, after, .. } = horizon(&scene);
    assert_eq!((since.boot_ns, after), (60 * SECOND, Some(GapReason::Stopped)));
    // What is gone was removed during the pause; what exists still has its creation.
    let found = scene.ask(|reader| reader.previous(&Hierarchies::All, b"/b", 8).unwrap());
    let Some(End::During(gap)) = &found[0].end else { panic!("{found:?}") };
    assert_eq!((gap.reason, gap.from.as_ref().unwrap().boot_ns), (GapReason::Stopped, 12 * SECOND));
    scene.rmdir(5, "/a");
    let found = scene.ask(|reader| reader.previous(&Hierarchies::All, b"/a", 8).unwrap());
    assert_eq!(found[0].creation.as_ref().unwrap().at.boot_ns, 11 * SECOND);
}

#[test]
fn a_killed_daemon_leaves_a_gap_of_unknown_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), 10 * SECOND);
    scene.mkdir(5, "/a");
    scene.kill_after_commit();
    let scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    assert!(!scene.opened.ended && scene.seq > 1);
    assert_eq!(lines(&scene.items()), ["mkdir /a", "(killed None)"]);
}

#[test]
fn a_run_that_continues_leaves_no_gap_or_an_exact_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), 10 * SECOND);
    scene.mkdir(5, "/a");
    scene.kill_after_commit();
    for (seq, expected) in [(1, vec!["mkdir /a"]), (4, vec!["mkdir /a", "(killed Some(3))"])] {
        let (recorder, opened) = crate::scene::open(options(Some(folder.path())));
        let scene = Scene { recorder, opened, seq, now: 60 * SECOND, zero: crate::scene::ZERO };
        scene.begin(true);
        assert_eq!(lines(&scene.items()), expected);
        // Without a commit, the next one finds the same.
        drop(scene);
    }
}

#[test]
fn another_boot_uses_the_same_ids_for_other_cgroups() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), 1_000 * SECOND);
    scene.mkdir(5, "/a");
    scene.end();
    let boot_2 = Options { boot_id: Arc::from("boot-2"), ..options(Some(folder.path())) };
    let mut scene = Scene::start(boot_2, 3 * SECOND);
    scene.zero += 2_000 * SECOND.cast_signed();
    scene.mkdir(5, "/b");
    scene.rmdir(5, "/b");
    let of = |path: &'static str| {
        scene.ask(move |reader| reader.previous(&Hierarchies::All, path.as_bytes(), 8).unwrap())
    };
    let (a, b) = (of("/a"), of("/b"));
    assert!(matches!(&a[0].end, Some(End::During(gap)) if gap.reason == GapReason::Stopped), "{a:?}");
    assert_eq!((&*a[0].creation.as_ref().unwrap().at.boot_id, a.len()), ("boot-1", 1));
    assert_eq!((&*b[0].creation.as_ref().unwrap().at.boot_id, b.len()), ("boot-2", 1));
    let by_id = scene.ask(|reader| {
        reader
            .previous_by_id(&Hierarchies::Named("v2".to_owned()), cgtrace_common::CgroupId(5))
            .unwrap()
            .unwrap()
    });
    assert_eq!(by_id, b[0]);
    let boots = scene.ask(|reader| reader.boots().unwrap());
    assert_eq!(boots.iter().map(|boot| &*boot.id).collect::<Vec<_>>(), ["boot-1", "boot-2"]);
}

#[test]
fn a_clock_that_is_set_back_changes_times_but_not_the_order() {
    let mut scene = Scene::in_memory();
    scene.mkdir(5, "/a");
    scene.zero -= 3_600 * SECOND.cast_signed();
    scene.mkdir(6, "/b");
    let items = scene.items();
    let [first, second] = events(&items)[..] else { panic!("{items:?}") };
    assert!(first.seq < second.seq && first.at.boot_ns < second.at.boot_ns);
    assert!(first.at.wall_ns > second.at.wall_ns);
}

#[test]
fn a_copied_folder_is_read_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), 10 * SECOND);
    scene.mkdir(5, "/a");
    scene.event(Kind::Rmdir, Some(cgroup(5, "/a")), None);
    // While the daemon writes, the copy has a log of SQLite's.
    let copied = |stopped: bool| {
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let file = file.unwrap();
            if stopped || !file.file_name().to_string_lossy().ends_with("-shm") {
                std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
        }
        let mut archive = Archive::open(copy.path()).unwrap();
        let items = crate::scene::all_items(&mut archive.reader(), &cgtrace_history::EventQuery::default());
        (lines(&items), items.into_iter().filter(|item| matches!(item, Item::Gap(_))).count())
    };
    scene.mkdir(6, "/b");
    let stored = scene.recorder.state().stored;
    while scene.recorder.state().stored == stored {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let expected = (["mkdir /a", "rmdir /a", "mkdir /b"].map(str::to_owned).to_vec(), 0);
    assert_eq!(copied(false), expected);
    scene.end();
    assert_eq!(copied(true), expected);
}
