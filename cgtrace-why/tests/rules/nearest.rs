//! The paths nearest to a mistyped one.

use cgtrace_why::rules::nearest;
use proptest::prelude::*;

#[test]
fn the_same_unit_comes_before_the_nearest_path() {
    let names =
        ["/system.slice/kubelets.service", "/system.slice/sshd.service", "/kube.slice/kubelet.service"];
    let near = nearest(b"/system.slice/kubelet.service", names, 5);
    let indices: Vec<usize> = near.iter().map(|near| near.index).collect();
    assert_eq!(indices, [2, 0]);
}

#[test]
fn paths_that_differ_in_digits_are_not_near() {
    let names = ["/user.slice/user-1001.slice", "/b", "/user.slice/user-100.slice"];
    assert!(nearest(b"/user.slice/user-1000.slice", names, 5).is_empty());
    assert!(nearest(b"/a", names, 5).is_empty());
}

#[test]
fn ten_thousand_long_paths_are_compared_quickly() {
    let begin = std::time::Instant::now();
    let names = |name: &dyn Fn(usize) -> String| (0..10_000).map(name).collect::<Vec<String>>();
    let alike = names(&|number| format!("/{}{}", "a".repeat(400), "b".repeat(number % 7)));
    assert_eq!(nearest(format!("/{}x", "a".repeat(399)).as_bytes(), &alike, 5).len(), 5);
    // After every possible mistake, a long part matches.
    let periodic = names(&|number| format!("/{}{number}", "ab".repeat(200)));
    assert_eq!(nearest(format!("/{}", "ba".repeat(202)).as_bytes(), &periodic, 5).len(), 5);
    assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
}

proptest! {
    #[test]
    fn any_paths_are_accepted(
        name in prop::collection::vec(any::<u8>(), 0..30),
        names in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..10),
        limit in 0_usize..4,
    ) {
        prop_assert!(nearest(&name, &names, limit).len() <= limit);
    }
}
