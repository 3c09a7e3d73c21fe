//! The cgroup settings in an observer's command line and configuration.

use cgtrace_why::rules::{Setting, Settings};
use proptest::prelude::*;

fn read(line: &str, config: Option<&str>) -> Settings {
    let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
    Settings::read(&arguments, config)
}

fn value(setting: Option<&Setting>) -> Option<&str> {
    setting.map(|setting| setting.value.as_str())
}

#[test]
fn flags_are_read_in_both_forms() {
    let settings = read(
        "kubelet --v=2 --kubelet-cgroups=/a --runtime-cgroups /b --docker-only --cgroup_driver systemd",
        None,
    );
    assert_eq!(value(settings.get("kubelet-cgroups")), Some("/a"));
    assert_eq!(value(settings.get("runtime-cgroups")), Some("/b"));
    assert_eq!(settings.get("docker-only").unwrap().source, "--docker-only");
    assert_eq!(value(settings.get("cgroup-driver")), Some("systemd"));
    assert_eq!(read("cadvisor -docker_only=false", None).switched("docker-only", true), None);
    assert_eq!(
        read("cadvisor -docker_only=true", None).get("docker-only").unwrap().source,
        "-docker_only=true"
    );
}

#[test]
fn flags_override_the_file() {
    let yaml = "kind: KubeletConfiguration\nkubeletCgroups: \"/y\" # x\nsystemCgroups: /s # x\nnested:\n  cgroupRoot: /no\n";
    let settings = read("kubelet --kubelet-cgroups=/a", Some(yaml));
    assert_eq!(value(settings.get("kubelet-cgroups")), Some("/a"));
    assert_eq!(value(settings.get("system-cgroups")), Some("/s"));
    assert_eq!(settings.get("cgroup-root"), None);
    assert_eq!(settings.paths().count(), 2);
    let settings = read("kubelet", Some(yaml));
    assert_eq!(settings.get("kubelet-cgroups").unwrap().source, "kubeletCgroups: /y");
    let settings = read("kubelet", Some(r#"{"cgroupDriver": "systemd", "port": 1}"#));
    assert_eq!(value(settings.get("cgroup-driver")), Some("systemd"));
}

#[test]
fn kubelet_observes_its_own_and_the_pods_cgroup() {
    let paths = |line: &str| -> Vec<String> {
        read(line, None).observed_paths(true, Some("/own")).into_iter().map(|(path, _)| path).collect()
    };
    assert_eq!(paths("kubelet"), ["/own", "/kubepods"]);
    assert_eq!(paths("kubelet --cgroup-driver=systemd --cgroup-root=/"), ["/own", "/kubepods.slice"]);
    assert_eq!(paths("kubelet --kubelet-cgroups=/k --cgroups-per-qos=false"), ["/k"]);
    assert_eq!(paths("kubelet --cgroup-root=/a --kubelet-cgroups=/a"), ["/a", "/a/kubepods"]);
    assert!(read("cadvisor", None).observed_paths(false, Some("/own")).is_empty());
}

proptest! {
    #[test]
    fn any_text_is_accepted(arguments in prop::collection::vec("\\PC{0,12}", 0..6), config in "(\\PC|\n|:){0,60}") {
        let _ = Settings::read(&arguments, Some(&config)).paths().count();
    }
}
