//! Moves and execs.

use cgtrace_common::Kind;
use cgtrace_history::{MovesQuery, Options, StoredEvent};

use crate::scene::{SECOND, Scene, cgroup, events, options, task};

/// A path's own id.
fn at(path: &str) -> cgtrace_history::EntryCgroup {
    cgroup(path.bytes().fold(7, |id, byte| id * 31 % 1_000_003 + u64::from(byte)), path)
}

fn moved(scene: &mut Scene, kind: Kind, from: Option<&str>, to: &str) -> u64 {
    let mut event = scene.new_event(kind, Some(at(to)), Some(task(1, 0, "systemd")));
    event.from = from.map(at);
    event.task = Some(task(70, 0, "worker"));
    event.threadgroup = (kind == Kind::Attach).then_some(true);
    scene.record(event)
}

/// The numbers of the newest moves, read in parts of `max_rows`.
fn moves(scene: &Scene, path: &str, comms: &[&str], max: usize, max_rows: usize) -> Vec<u64> {
    let comms: Vec<Vec<u8>> = comms.iter().map(|comm| comm.as_bytes().to_vec()).collect();
    let mut query = MovesQuery::new(path.as_bytes(), &comms, max);
    loop {
        // Each part is a question of its own.
        let (is_last, read) =
            scene.ask(move |reader| (reader.read_moves(&mut query, max_rows).unwrap(), query));
        query = read;
        if is_last {
            return query.finish().iter().map(|event| event.seq).collect();
        }
    }
}

#[test]
fn moves_read_in_parts_of_any_size_are_the_same() {
    let mut scene = Scene::start(Options { max_bytes: 4 << 20, ..options(None) }, 100 * SECOND);
    for round in 0..1_500 {
        let (from, to) = (format!("/a/b{}/c", round % 11), format!("/a/b{}", round % 7));
        let at = (round % 5 > 0).then_some(&*from);
        moved(&mut scene, Kind::Attach, at, &to);
        moved(&mut scene, Kind::Fork, None, &format!("/a/b{}/c/{round}", round % 3));
        scene.mkdir(2_000_000 + round, &format!("/a/b0/c/d{round}"));
        scene.wait_for_room();
    }
    assert_eq!(scene.items().len(), 4_500, "{:?}", scene.recorder.state());
    assert!(scene.recorder.state().segments > 2, "{:?}", scene.recorder.state());
    let touches = |event: &StoredEvent, path: &str| {
        [&event.cgroup, &event.from].into_iter().flatten().any(|cgroup| {
            let path_of_event = String::from_utf8(cgroup.path.clone().unwrap()).unwrap();
            path == "/" || format!("{path_of_event}/").starts_with(&format!("{path}/"))
        })
    };
    let items = scene.items();
    let all: Vec<_> = events(&items).into_iter().filter(|event| event.kind != Kind::Mkdir).collect();
    for path in ["/", "/a", "/a/b0", "/a/b0/c", "/a/b10/c", "/a/b2/c/1499", "/a/b"] {
        for max in [1, 64] {
            let mut expected: Vec<u64> =
                all.iter().filter(|event| touches(event, path)).map(|event| event.seq).collect();
            expected.drain(..expected.len().saturating_sub(max));
            for max_rows in [2, 100, 100_000] {
                if max_rows == 2 && path.len() < 5 {
                    // It takes long.
                    continue;
                }
                assert_eq!(moves(&scene, path, &[], max, max_rows), expected, "{path} {max} {max_rows}");
            }
            assert_eq!(moves(&scene, path, &["worker"], max, 50), expected, "{path} {max}");
            assert_eq!(moves(&scene, path, &["other"], max, 50), []);
        }
    }
}

#[test]
fn moves_into_and_out_of_a_subtree_are_found() {
    let mut scene = Scene::in_memory();
    let into = moved(&mut scene, Kind::Attach, None, "/b");
    let below = moved(&mut scene, Kind::Fork, Some("/c"), "/d/x");
    let out = moved(&mut scene, Kind::Transfer, Some("/b"), "/e");
    let last = moved(&mut scene, Kind::Attach, None, "/d0");
    let of = |path: &'static str, max: usize| moves(&scene, path, &[], max, 100);
    assert_eq!(of("/b", 8), [into, out]);
    assert_eq!(of("/d", 8), [below]);
    assert_eq!(of("/d/x", 8), [below]);
    assert_eq!(of("/e", 8), [out]);
    assert_eq!(of("/", 8), [into, below, out, last]);
    assert_eq!(of("/", 2), [out, last]);
    assert_eq!(of("/nowhere", 8), []);
    let by = |comm: &str| moves(&scene, "/", &["x", comm], 8, 100).len();
    assert_eq!((by("worker"), by("systemd"), by("other")), (4, 4, 0));
}

#[test]
fn execs_are_found_by_name_with_their_circumstances() {
    let mut scene = Scene::in_memory();
    let first = scene.exec(70, "kubelet", 0);
    scene.exec(71, "containerd", 0);
    let second = scene.exec(72, "kubelet", 0);
    let found = scene.ask(|reader| reader.execs(b"kubelet", 8).unwrap());
    assert_eq!(found.iter().map(|exec| exec.seq).collect::<Vec<_>>(), [Some(second), Some(first)]);
    let ancestors: Vec<_> = found[0].ancestors.iter().map(|task| task.task.pid).collect();
    let cgroups: Vec<_> = found[0].cgroups.iter().map(|cgroup| cgroup.hierarchy.0).collect();
    assert_eq!((ancestors, cgroups), (vec![9, 1], vec![0, 3]));
    assert_eq!(found[0].cgroups[0].path.as_deref(), Some(&b"/"[..]));
    assert_eq!(scene.ask(|reader| reader.execs(b"kubelet", 1).unwrap().len()), 1);
    assert_eq!(scene.ask(|reader| reader.execs(b"kube", 8).unwrap().len()), 0);
}
