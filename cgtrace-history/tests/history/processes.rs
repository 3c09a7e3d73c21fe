//! Moves and execs.

use cgtrace_common::Kind;

use crate::scene::{Scene, cgroup, task};

fn moved(scene: &mut Scene, kind: Kind, from: Option<&str>, to: &str) -> u64 {
    let mut event =
        scene.new_event(kind, Some(cgroup(u64::from(to.as_bytes()[1]), to)), Some(task(1, 0, "systemd")));
    event.from = from.map(|from| cgroup(u64::from(from.as_bytes()[1]), from));
    event.task = Some(task(70, 0, "worker"));
    event.threadgroup = (kind == Kind::Attach).then_some(true);
    scene.record(event)
}

#[test]
fn moves_into_and_out_of_a_subtree_are_found() {
    let mut scene = Scene::in_memory();
    let into = moved(&mut scene, Kind::Attach, None, "/b");
    let below = moved(&mut scene, Kind::Fork, Some("/c"), "/d/x");
    let out = moved(&mut scene, Kind::Transfer, Some("/b"), "/e");
    moved(&mut scene, Kind::Attach, None, "/d0");
    let of = |path: &'static str, max: usize| {
        scene.ask(move |reader| {
            reader.moves(path.as_bytes(), max).unwrap().iter().map(|event| event.seq).collect::<Vec<_>>()
        })
    };
    assert_eq!(of("/b", 8), [into, out]);
    assert_eq!(of("/d", 8), [below]);
    assert_eq!(of("/d/x", 8), [below]);
    assert_eq!(of("/e", 8), [out]);
    assert_eq!(of("/", 8).len(), 4);
    assert_eq!(of("/", 2).len(), 2);
    assert_eq!(of("/nowhere", 8), []);
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
