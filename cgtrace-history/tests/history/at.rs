//! The state at a time in the past.

use cgtrace_common::Kind;
use cgtrace_history::{At, GapReason, Hierarchies, StateAt};

use crate::scene::{SECOND, Scene, ZERO, cgroup_on, live, options};

/// The paths that existed at a second of the boot clock.
fn paths(scene: &Scene, second: u64, which: At<'static>) -> Vec<String> {
    match state(scene, second, which) {
        StateAt::Known { instances, .. } => instances
            .iter()
            .map(|instance| String::from_utf8_lossy(instance.cgroup.path.as_deref().unwrap()).into_owned())
            .collect(),
        StateAt::Unknown { .. } => panic!("unknown"),
    }
}

fn state(scene: &Scene, second: u64, which: At<'static>) -> StateAt {
    let wall_ns = ZERO + (second * SECOND).cast_signed();
    scene.ask(move |reader| reader.at(wall_ns, &Hierarchies::All, which).unwrap())
}

#[test]
fn a_cgroup_exists_from_its_creation_to_its_removal() {
    let mut scene = Scene::in_memory();
    scene.live(vec![live(3, "/old"), live(4, "/old/x")]);
    scene.mkdir(5, "/a"); // 101
    scene.mkdir(6, "/a/b"); // 102
    scene.rmdir(6, "/a/b"); // 103
    scene.rmdir(3, "/old"); // 104
    let all = At::Below(b"/");
    assert_eq!(paths(&scene, 100, all), ["/old", "/old/x"]);
    assert_eq!(paths(&scene, 102, all), ["/a", "/a/b", "/old", "/old/x"]);
    assert_eq!(paths(&scene, 103, all), ["/a", "/old", "/old/x"]);
    assert_eq!(paths(&scene, 200, all), ["/a", "/old/x"]);
    assert_eq!(paths(&scene, 102, At::Path(b"/a/b")), ["/a/b"]);
    assert!(paths(&scene, 101, At::Path(b"/a/b")).is_empty());
    assert_eq!(paths(&scene, 102, At::Below(b"/a")), ["/a", "/a/b"]);
}

#[test]
fn a_renamed_cgroup_and_its_descendants_have_the_paths_of_that_time() {
    let mut scene = Scene::in_memory();
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 5, "/a")), None); // 101
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 6, "/a/b")), None); // 102
    let mut rename = scene.new_event(Kind::Rename, Some(cgroup_on(3, 5, "/z")), None); // 103
    rename.from = Some(cgroup_on(3, 5, "/a"));
    scene.record(rename);
    scene.event(Kind::Mkdir, Some(cgroup_on(3, 7, "/a")), None); // 104
    assert_eq!(paths(&scene, 102, At::Below(b"/")), ["/a", "/a/b"]);
    assert_eq!(paths(&scene, 103, At::Below(b"/")), ["/z", "/z/b"]);
    assert_eq!(paths(&scene, 104, At::Below(b"/")), ["/a", "/z", "/z/b"]);
    assert_eq!(paths(&scene, 104, At::Below(b"/z")), ["/z", "/z/b"]);
    assert_eq!(paths(&scene, 104, At::Path(b"/z/b")), ["/z/b"]);
    assert!(paths(&scene, 104, At::Path(b"/a/b")).is_empty());
}

#[test]
fn nothing_is_claimed_about_times_without_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::start(options(Some(folder.path())), 10 * SECOND);
    scene.mkdir(5, "/a");
    scene.end();
    let mut scene = Scene::start(options(Some(folder.path())), 60 * SECOND);
    scene.live(vec![live(5, "/a")]);
    scene.mkdir(6, "/b");
    let unknown = |second| match state(&scene, second, At::Below(b"/")) {
        StateAt::Unknown { gap, oldest } => (gap.map(|gap| gap.reason), oldest.unwrap().boot_ns),
        StateAt::Known { instances, .. } => panic!("{instances:?}"),
    };
    assert_eq!(unknown(5), (None, 10 * SECOND));
    assert_eq!(unknown(30), (Some(GapReason::Stopped), 10 * SECOND));
    assert_eq!(paths(&scene, 11, At::Below(b"/")), ["/a"]);
    assert_eq!(paths(&scene, 61, At::Below(b"/")), ["/a", "/b"]);
}
