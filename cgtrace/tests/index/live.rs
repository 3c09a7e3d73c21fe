//! The set of live cgroups.

use cgtrace::daemon::index::{Index, LiveCgroup};

use crate::script::{PIDS, empty, key, mkdir, pids, plain, rename, rmdir, unscanned};

/// Hierarchy, id, path and time of the creation of each live cgroup.
fn live(index: &Index) -> Vec<(u32, u64, Option<String>, u64)> {
    let mut found = Vec::new();
    index.live(|LiveCgroup { key, path, creation }| {
        let path = path.map(|path| String::from_utf8(path.to_vec()).unwrap());
        found.push((key.hierarchy.0, key.id.0, path, creation.boot_ns));
    });
    found
}

#[test]
fn every_live_cgroup_is_visited_after_its_parent() {
    let mut index = empty();
    for (id, parent, name) in [(5, 1, "b"), (6, 5, "c"), (7, 1, "a"), (8, 1, "gone")] {
        plain(&mut index, 2_000 + id, mkdir(key(id), parent, name));
    }
    plain(&mut index, 2_020, rmdir(key(8), 1, "gone"));
    plain(&mut index, 2_021, mkdir(pids(5), 1, "x"));
    plain(&mut index, 2_022, rename(pids(5), 1, "y"));
    let path = |path: &str| Some(path.to_owned());
    let expected = [
        (0, 1, path("/"), 1_000),
        (0, 7, path("/a"), 2_007),
        (0, 5, path("/b"), 2_005),
        (0, 6, path("/b/c"), 2_006),
        (7, 1, path("/"), 1_000),
        (7, 5, path("/y"), 2_021),
    ];
    assert_eq!(live(&index), expected);
}

#[test]
fn cgroups_below_an_unknown_parent_are_visited_without_a_path() {
    let mut index = unscanned();
    plain(&mut index, 2_000, mkdir(pids(9), 8, "c"));
    plain(&mut index, 2_001, mkdir(pids(10), 9, "d"));
    plain(&mut index, 2_002, mkdir(pids(7), 6, "e"));
    let of_pids: Vec<_> = live(&index).into_iter().filter(|(of, ..)| *of == PIDS.0).collect();
    let expected =
        [(7, 1, Some("/".to_owned()), 1_000), (7, 7, None, 2_002), (7, 9, None, 2_000), (7, 10, None, 2_001)];
    assert_eq!(of_pids, expected);
}
