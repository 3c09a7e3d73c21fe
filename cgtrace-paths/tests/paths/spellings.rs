//! Alternative spellings of paths.

use cgtrace_paths::{Spelling, parse, spellings};

fn of(given: &str) -> Vec<(String, Spelling)> {
    spellings(&parse(given.as_bytes()), given.as_bytes())
        .into_iter()
        .map(|variant| (String::from_utf8_lossy(&variant.path).into_owned(), variant.spelling))
        .collect()
}

fn has(given: &str, path: &str, spelling: Spelling) {
    let all = of(given);
    assert!(all.contains(&(path.to_owned(), spelling)), "{given}: {all:?}");
}

#[test]
fn prefixes_and_suffixes_are_removed() {
    has("/systemd/system.slice", "/system.slice", Spelling::Directory);
    has("/sys/fs/cgroup/memory/x.slice", "/x.slice", Spelling::MountPath);
    has("/../../system.slice/x.service", "/system.slice/x.service", Spelling::Upwards);
    has("/x (deleted)", "/x", Spelling::Deleted);
}

#[test]
fn slices_are_nested() {
    has("/kubepods-burstable.slice", "/kubepods.slice/kubepods-burstable.slice", Spelling::Nesting);
    has("/system.slice/a-b.slice/c.service", "/a.slice/a-b.slice/c.service", Spelling::Nesting);
    has("/-.slice/x.service", "/x.service", Spelling::Nesting);
    assert!(of("/a.slice/a-b.slice/x.scope/y").is_empty());
}

#[test]
fn units_get_type_and_slice() {
    has("/system.slice/kubelet", "/system.slice/kubelet.service", Spelling::Unit);
    has("kubelet.service", "/system.slice/kubelet.service", Spelling::Unit);
    has("kubelet", "/system.slice/kubelet.service", Spelling::Unit);
    assert!(of("/system.slice/kubelet.service").is_empty());
}

#[test]
fn escapes_go_both_ways() {
    has("/machine.slice/machine-my-vm.scope", "/machine.slice/machine-my\\x2dvm.scope", Spelling::Escape);
    has("/machine.slice/machine-myx2dvm.scope", "/machine.slice/machine-my\\x2dvm.scope", Spelling::Escape);
    has("/a\\x2db.service", "/a-b.service", Spelling::Escape);
    has("/system.slice/getty@tty-1.service", "/system.slice/getty@tty\\x2d1.service", Spelling::Escape);
}

#[test]
fn the_form_of_the_other_driver_is_found() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    has(&format!("/docker/{id}"), &format!("/system.slice/docker-{id}.scope"), Spelling::Driver);
    has(&format!("system.slice:docker:{id}"), &format!("/system.slice/docker-{id}.scope"), Spelling::Colons);
    let uid = "1d7d7a3c-4a2e-4d5a-a2c3-6f2d4a0a7a55";
    let slice = "kubepods-burstable-pod1d7d7a3c_4a2e_4d5a_a2c3_6f2d4a0a7a55.slice";
    let systemd = format!("/kubepods.slice/kubepods-burstable.slice/{slice}");
    has(&format!("/kubepods/burstable/pod{uid}"), &systemd, Spelling::Driver);
    has(&systemd, &format!("/kubepods/burstable/pod{uid}"), Spelling::Driver);
    has(
        &format!("{systemd}/crio-{id}.scope"),
        &format!("/kubepods/burstable/pod{uid}/crio-{id}"),
        Spelling::Driver,
    );
    has("/kubepods", "/kubepods.slice", Spelling::Driver);
}
