//! Faults of the files: each becomes a gap.

use std::{fs, io::Write as _, os::unix::fs::FileExt as _, path::Path};

use cgtrace_common::Kind;
use cgtrace_history::{Archive, Error, EventQuery, GapReason, Item, Options, Recorder, State};

use crate::scene::{SECOND, Scene, all_items, cgroup, lines, options};

fn one_run(folder: &Path) {
    let mut scene = Scene::start(options(Some(folder)), 10 * SECOND);
    for id in 0..2_000 {
        scene.event(Kind::Mkdir, Some(cgroup(id, &format!("/a/{id}"))), None);
    }
    scene.end();
}

fn segment(folder: &Path) -> std::path::PathBuf {
    folder.join("segment-000001.db")
}

fn reasons(scene: &Scene) -> Vec<&'static str> {
    scene
        .items()
        .iter()
        .filter_map(|item| match item {
            Item::Gap(gap) => Some(gap.reason.as_str()),
            Item::Event(_) => None,
        })
        .collect()
}

#[test]
fn a_segment_that_is_no_database_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    one_run(folder.path());
    fs::write(segment(folder.path()), "not a database, but long enough to be looked at".repeat(100)).unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    scene.mkdir(5, "/b");
    assert_eq!(lines(&scene.items()).last().map(String::as_str), Some("mkdir /b"));
    assert_eq!(reasons(&scene), ["broken"]);
    assert!(scene.seq > 2_001, "numbers are not used again");
    assert!(folder.path().join("broken").exists());
    assert_eq!(scene.recorder.state().missing[GapReason::Broken as usize], 1);
}

#[test]
fn a_daemon_that_was_killed_before_it_stored_anything_leaves_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (recorder, opened) = Recorder::start(options(Some(folder.path())), Box::new(|| {})).unwrap();
    assert_eq!(opened.resume_after, 0);
    // Its numbers were given out, and its file has nothing yet.
    drop(recorder);
    let lock = fs::read_to_string(folder.path().join("lock")).unwrap();
    let reserved: u64 = lock.trim().parse().unwrap();
    fs::write(segment(folder.path()), "").unwrap();
    let mut scene = started(|| Scene::start(options(Some(folder.path())), 60 * SECOND));
    assert!(reserved > 100_000 && scene.seq >= reserved, "{reserved}, {}", scene.seq);
    scene.mkdir(5, "/b");
    assert_eq!(reasons(&scene), ["killed"]);
    assert!(!folder.path().join("broken").exists());
}

/// Retries while the thread of the daemon before still has the lock.
fn started(mut start: impl FnMut() -> Scene) -> Scene {
    loop {
        let scene = start();
        if scene.recorder.state().failure.is_none() {
            return scene;
        }
    }
}

#[test]
fn a_burst_is_stored_in_several_segments() {
    let options = Options { max_bytes: 1 << 20, ..options(None) };
    let mut scene = Scene::start(options, 10 * SECOND);
    for id in 0..20_000 {
        scene.event(Kind::Mkdir, Some(cgroup(id, &format!("/a/{id}"))), None);
        scene.event(Kind::Rmdir, Some(cgroup(id, &format!("/a/{id}"))), None);
        scene.wait_for_room();
    }
    // A commit is due half a second after the first event: these events come sooner. What is stored is more
    // than one segment and less than all.
    let last = scene.seq;
    let Item::Gap(gap) = scene.items().remove(0) else { panic!("nothing was removed") };
    let stored = last - gap.until_seq;
    assert!(gap.reason == GapReason::Retention && gap.events == Some(gap.until_seq), "{gap:?}");
    assert!((2_000..20_000).contains(&stored), "{stored} of {last}");
    let state = scene.recorder.state();
    assert!(state.segments >= 2 && state.bytes <= 1 << 20, "{state:?}");
}

#[test]
fn a_truncated_segment_is_noticed_by_a_question_and_leaves_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    one_run(folder.path());
    let file = fs::OpenOptions::new().write(true).open(segment(folder.path())).unwrap();
    file.set_len(file.metadata().unwrap().len() / 4096 / 2 * 4096).unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    scene.mkdir(3_000, "/b");
    // The question finds the damage; from then on it is a gap, and events are stored.
    let _ = scene.items();
    scene.mkdir(3_001, "/c");
    let stored = scene.recorder.state().stored;
    while scene.recorder.state().stored == stored {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    scene.mkdir(3_002, "/d");
    let items = scene.items();
    assert_eq!(lines(&items).last().map(String::as_str), Some("mkdir /d"));
    assert!(reasons(&scene).contains(&"broken"), "{:?}", lines(&items));
    assert!(scene.ask(|reader| reader.horizon().unwrap().unwrap()).after.is_some());
}

#[test]
fn an_overwritten_page_never_ends_the_thread() {
    let folder = tempfile::tempdir().unwrap();
    one_run(folder.path());
    let file = fs::OpenOptions::new().write(true).open(segment(folder.path())).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in (2..pages).step_by(3) {
        file.write_all_at(&[0x5a; 4096], page * 4096).unwrap();
    }
    let mut scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    for round in 0..3 {
        let _ = scene.ask(|reader| {
            reader.previous(&cgtrace_history::Hierarchies::All, b"/a/7", 8).map(|found| found.len())
        });
        scene.mkdir(3_000 + round, &format!("/b/{round}"));
        let stored = scene.recorder.state().stored;
        while scene.recorder.state().stored == stored {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    let items = scene.items();
    assert_eq!(lines(&items).last().map(String::as_str), Some("mkdir /b/2"));
}

/// Damage is found when a run begins, when a question reads it, or when its live set is copied.
#[test]
fn whatever_page_is_overwritten_the_history_goes_on() {
    let original = tempfile::tempdir().unwrap();
    one_run(original.path());
    let pages = fs::metadata(segment(original.path())).unwrap().len() / 4096;
    std::thread::scope(|scope| {
        for page in 0..pages {
            let original = &original;
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                fs::copy(segment(original.path()), segment(folder.path())).unwrap();
                let file = fs::OpenOptions::new().write(true).open(segment(folder.path())).unwrap();
                file.write_all_at(&[0x5a; 4096], page * 4096).unwrap();
                // The segment is full, so that its live set is copied at the first commit.
                let small = Options { max_bytes: 512 << 10, ..options(Some(folder.path())) };
                let mut scene = Scene::start(small, 60 * SECOND);
                let began = std::time::Instant::now();
                // No question, which would find the damage.
                for id in 3_000.. {
                    scene.mkdir(id, &format!("/b/{id}"));
                    let State { stored, failure, .. } = scene.recorder.state();
                    if stored > 20 && failure.is_none() {
                        break;
                    }
                    assert!(began.elapsed().as_secs() < 60, "page {page}: {failure:?}");
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                scene.mkdir(2_999, "/c");
                assert_eq!(lines(&scene.items()).last().map(String::as_str), Some("mkdir /c"), "page {page}");
            });
        }
    });
}

#[test]
fn two_daemons_never_write_to_one_folder_and_the_second_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Scene::start(options(Some(folder.path())), 10 * SECOND);
    first.mkdir(5, "/a");
    let mut second = Scene::start(options(Some(folder.path())), 20 * SECOND);
    let failure = second.recorder.state().failure.unwrap();
    assert!(failure.contains("another daemon"), "{failure}");
    second.mkdir(6, "/b");
    second.mkdir(7, "/c");
    first.end();
    // It tries again with the next event.
    let (mut id, mut live_set) = (8, false);
    while second.recorder.state().failure.is_some() {
        second.mkdir(id, "/later");
        id += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
        let requests = second.requests();
        live_set |= requests.live_set;
        if let Some(after) = requests.seq_after {
            second.seq = second.seq.max(after);
        }
    }
    second.mkdir(1_000, "/stored");
    let found = lines(&second.items());
    assert_eq!(found.first().map(String::as_str), Some("mkdir /a"));
    assert_eq!(found.last().map(String::as_str), Some("mkdir /stored"));
    assert!(found.iter().any(|line| line.starts_with("(disk Some(")), "{found:?}");
    assert!(live_set || second.requests().live_set);
}

#[test]
fn a_folder_that_cannot_be_made_is_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file/history");
    fs::write(folder.path().join("file"), "").unwrap();
    let mut scene = Scene::start(options(Some(&path)), 10 * SECOND);
    let failure = scene.recorder.state().failure.unwrap();
    assert!(failure.contains("file/history"), "{failure}");
    scene.mkdir(5, "/a");
    assert!(scene.items().is_empty());
    fs::remove_file(folder.path().join("file")).unwrap();
    while scene.recorder.state().failure.is_some() {
        scene.mkdir(6, "/later");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    scene.mkdir(7, "/stored");
    let found = lines(&scene.items());
    assert!(found[0].starts_with("(disk Some("), "{found:?}");
}

#[test]
fn a_segment_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    one_run(folder.path());
    let connection = rusqlite::Connection::open(segment(folder.path())).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = fs::read(segment(folder.path())).unwrap();
    let error = Archive::open(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
    let mut scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    scene.mkdir(5, "/b");
    let failure = scene.recorder.state().failure.unwrap();
    assert!(failure.contains("newer cgtrace"), "{failure}");
    scene.end();
    assert_eq!(fs::read(segment(folder.path())).unwrap(), before);
}

#[test]
fn an_archive_says_what_is_wrong_with_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let empty = Archive::open(folder.path()).unwrap_err().to_string();
    assert!(empty.contains("no history"), "{empty}");
    let missing = Archive::open(folder.path().join("x")).unwrap_err().to_string();
    assert!(missing.contains("No such file"), "{missing}");
    one_run(folder.path());
    let mut other = fs::File::create(folder.path().join("segment-000002.db")).unwrap();
    other.write_all(b"garbage").unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    assert_eq!(archive.unreadable().count(), 1);
}

/// A writer died in the moment in which it gave up SQLite's log: its journal must be rolled back.
#[test]
fn a_segment_with_a_journal_is_recovered() {
    let folder = tempfile::tempdir().unwrap();
    one_run(folder.path());
    let path = segment(folder.path());
    let journal = folder.path().join("segment-000001.db-journal");
    let files = [&path, &journal];
    // The pages that are written early, and the journal that undoes it, as a kill would leave them.
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch("pragma cache_size = 1; begin; update cgroup set leaf = 'undone';").unwrap();
    let left = files.map(|file| fs::read(file).unwrap());
    assert!(left[1].len() > 512, "nothing was written early");
    connection.execute_batch("rollback").unwrap();
    drop(connection);
    for (file, content) in files.iter().zip(&left) {
        fs::write(file, content).unwrap();
    }
    let mkdirs = |items: &[Item]| lines(items).iter().filter(|line| line.starts_with("mkdir /a/")).count();
    // A folder is read without changing it.
    let mut archive = Archive::open(folder.path()).unwrap();
    assert_eq!(mkdirs(&all_items(&mut archive.reader(), &EventQuery::default())), 2_000);
    assert_eq!(files.map(|file| fs::read(file).unwrap()), left);
    drop(archive);
    let mut scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    assert!(scene.recorder.state().failure.is_none(), "{:?}", scene.recorder.state());
    scene.mkdir(3_000, "/b");
    assert_eq!(mkdirs(&scene.items()), 2_000);
    assert!(!reasons(&scene).contains(&"broken"));
    assert!(!journal.exists());
}

#[test]
fn a_segment_that_was_never_committed_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    one_run(folder.path());
    fs::write(folder.path().join("segment-000002.db"), "").unwrap();
    assert!(Archive::open(folder.path()).unwrap().unreadable().next().is_none());
    let mut scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    scene.mkdir(5_000, "/b");
    assert_eq!(lines(&scene.items()).last().map(String::as_str), Some("mkdir /b"));
    assert_eq!(reasons(&scene), ["stopped"]);
}
