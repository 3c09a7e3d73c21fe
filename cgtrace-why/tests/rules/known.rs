//! Names are resolved to known paths.

use cgtrace_paths::Target;
use cgtrace_why::{Found, KnownPath, KnownPaths};
use proptest::prelude::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "01234567ffffffff0123456789abcdef0123456789abcdef0123456789abcdef";
const UID: &str = "c6e8a3c4-9f5b-4f0e-9a55-1f8b3e6d7c21";

fn known(present: &[&str], removed: &[&str]) -> KnownPaths {
    let all = present.iter().map(|path| (path, true)).chain(removed.iter().map(|path| (path, false)));
    KnownPaths::new(all.map(|(path, is_present)| KnownPath { path: path.as_bytes().to_vec(), is_present }))
}

/// The path that is found, or all candidates, joined.
fn found(known: &KnownPaths, target: &Target) -> String {
    let text = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
    match known.find(target) {
        Found::One(path, _) => text(&path),
        Found::Several(paths) => paths.iter().map(text).collect::<Vec<_>>().join(" or "),
        Found::Nothing => String::new(),
    }
}

fn name(name: &str) -> Target {
    Target::Name(name.to_owned())
}

#[test]
fn a_name_is_a_service_then_a_cgroup_then_another_unit() {
    let service = "/system.slice/web.service";
    assert_eq!(found(&known(&["/web", service, "/a/web.scope"], &[]), &name("web")), service);
    assert_eq!(found(&known(&["/web", "/a/web.scope"], &[]), &name("web")), "/web");
    assert_eq!(found(&known(&["/a/web.scope"], &[]), &name("web")), "/a/web.scope");
    assert_eq!(found(&known(&["/a.slice/a-b.slice"], &[]), &name("a-b")), "/a.slice/a-b.slice");
    assert_eq!(found(&known(&["/lxc.payload.web"], &[]), &name("web")), "/lxc.payload.web");
    assert_eq!(
        found(&known(&["/machine.slice/machine-web.scope"], &[]), &name("web")),
        "/machine.slice/machine-web.scope"
    );
    assert_eq!(found(&known(&["/a"], &[]), &name("web")), "");
}

#[test]
fn what_exists_comes_before_what_was_removed() {
    let (removed, present) = ("/system.slice/web.service", "/a/b/web");
    assert_eq!(found(&known(&[present], &[removed]), &name("web")), present);
    assert_eq!(found(&known(&[], &[removed]), &name("web")), removed);
    assert_eq!(found(&known(&[present], &[present]), &name("web")), present);
}

#[test]
fn the_shallowest_is_meant_and_the_others_are_reported() {
    let (host, inner) = ("/system.slice/web.service", "/payload/system.slice/web.service");
    let found = known(&[inner, host], &[]).find(&name("web"));
    assert_eq!(found, Found::One(host.into(), vec![inner.into()]));
}

#[test]
fn equally_deep_ones_are_ambiguous() {
    let all = ["/user.slice/user-1.slice/web.service", "/user.slice/user-2.slice/web.service"];
    assert_eq!(found(&known(&all, &[]), &Target::Unit("web.service".to_owned())), all.join(" or "));
}

#[test]
fn a_container_is_found_by_the_beginning_of_its_id() {
    let scope = format!("/system.slice/docker-{ID}.scope");
    let (inner, other) = (format!("{scope}/init"), format!("/docker/{OTHER}"));
    let one = known(&[&scope, &inner], &[]);
    for id in ["0123", "0123456789ab", ID] {
        assert_eq!(found(&one, &Target::Container(id.to_owned())), scope);
    }
    // Without a mark, and without a letter, it could be any word.
    assert_eq!(found(&one, &name("0123456789")), scope);
    assert_eq!(found(&one, &name("012")), "");
    let two = known(&[&scope, &inner, &other], &[]);
    assert_eq!(found(&two, &Target::Container("0123".to_owned())), format!("{other} or {scope}"));
    assert_eq!(found(&two, &Target::Container("0123456789".to_owned())), scope);
    assert_eq!(found(&two, &Target::Container("ffff".to_owned())), "");
}

#[test]
fn a_proven_container_comes_before_one_whose_name_proves_nothing() {
    let (proven, claimed) = (format!("/a.slice/docker-{ID}.scope"), format!("/a/docker-{ID}.scope"));
    let target = Target::Container(ID[..12].to_owned());
    assert_eq!(found(&known(&[&claimed, &proven], &[]), &target), proven);
    assert_eq!(found(&known(&[&claimed], &[]), &target), claimed);
    let monitor = format!("/a.slice/libpod-conmon-{ID}.scope");
    assert_eq!(found(&known(&[&monitor], &[]), &target), "");
}

#[test]
fn a_runtime_path_leads_to_what_the_runtime_made_of_it() {
    let path = format!("/system.slice/docker-{ID}.scope");
    let target = Target::RuntimePath { path: path.clone().into_bytes(), id: ID.to_owned() };
    assert_eq!(found(&known(&[&path], &[]), &target), path);
    for made in
        [format!("/docker/{ID}"), format!("/system.slice:docker:{ID}"), format!("/kubepods/crio-{ID}")]
    {
        assert_eq!(found(&known(&[&made], &[]), &target), made);
    }
}

#[test]
fn a_pod_is_found_in_the_form_of_either_driver() {
    let slice = "/kubepods.slice/kubepods-burstable.slice";
    let systemd = format!("{slice}/kubepods-burstable-pod{}.slice", UID.replace('-', "_"));
    for path in [format!("/kubepods/burstable/pod{UID}"), systemd] {
        let container = format!("{path}/{ID}");
        assert_eq!(found(&known(&[&path, &container], &[]), &Target::Pod(UID.to_owned())), path);
    }
}

#[test]
fn lxc_may_have_added_a_number() {
    assert_eq!(
        found(&known(&["/lxc.payload.c1-1", "/lxc.payload.c1-x"], &[]), &name("c1")),
        "/lxc.payload.c1-1"
    );
    // The one that was left over exists.
    assert_eq!(found(&known(&["/lxc/c1", "/lxc/c1-1"], &[]), &name("c1")), "/lxc/c1");
}

proptest! {
    #[test]
    fn a_known_path_leads_to_itself(paths in prop::collection::vec("(/[a-c]{1,3}){1,4}", 1..20)) {
        let all: Vec<&str> = paths.iter().map(String::as_str).collect();
        let known = known(&all, &[]);
        for path in &paths {
            prop_assert_eq!(&found(&known, &Target::Path(path.clone().into_bytes())), path);
        }
    }

    #[test]
    fn what_is_found_is_known_and_as_shallow_as_any(
        paths in prop::collection::vec("(/[ab]{1,2}){1,4}", 1..20),
        leaf in "[ab]{1,2}",
    ) {
        let all: Vec<&str> = paths.iter().map(String::as_str).collect();
        let level = |path: &str| path.matches('/').count();
        let least = all.iter().filter(|path| path.ends_with(&format!("/{leaf}"))).map(|path| level(path)).min();
        match known(&all, &[]).find(&name(&leaf)) {
            Found::One(path, _) => {
                let path = String::from_utf8(path).unwrap();
                prop_assert_eq!(Some(level(&path)), least);
                prop_assert!(all.contains(&path.as_str()));
            }
            Found::Several(several) => prop_assert!(several.len() > 1),
            Found::Nothing => prop_assert_eq!(least, None),
        }
    }

    #[test]
    fn any_target_is_accepted(
        paths in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
        text in "\\PC{0,20}",
    ) {
        let known = KnownPaths::new(paths.into_iter().map(|path| KnownPath { path, is_present: true }));
        let text = || text.clone();
        for target in [Target::Name(text()), Target::Unit(text()), Target::Container(text()), Target::Pod(text())] {
            let _ = known.find(&target);
        }
    }
}
