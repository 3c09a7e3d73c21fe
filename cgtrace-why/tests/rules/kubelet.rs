//! What an observer's command line and configuration say about cgroups.

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
fn flags_are_read_in_either_form() {
    let settings = read(
        "kubelet --v=2 --kubelet-cgroups=/a --runtime-cgroups /b --docker-only --cgroup_driver systemd",
        None,
    );
    assert_eq!(value(settings.get("kubelet-cgroups")), Some("/a"));
    assert_eq!(value(settings.get("runtime-cgroups")), Some("/b"));
    assert_eq!(settings.get("docker-only").unwrap().written, "--docker-only");
    assert_eq!(value(settings.get("cgroup-driver")), Some("systemd"));
    assert_eq!(read("cadvisor -docker_only=false", None).switched("docker-only", true), None);
    assert_eq!(
        read("cadvisor -docker_only=true", None).get("docker-only").unwrap().written,
        "-docker_only=true"
    );
}

#[test]
fn flags_overrule_the_file() {
    let yaml = "kind: KubeletConfiguration\nkubeletCgroups: \"/y\" # x\nsystemCgroups: /s # x\nnested:\n  cgroupRoot: /no\n";
    let settings = read("kubelet --kubelet-cgroups=/a", Some(yaml));
    assert_eq!(value(settings.get("kubelet-cgroups")), Some("/a"));
    assert_eq!(value(settings.get("system-cgroups")), Some("/s"));
    assert_eq!(settings.get("cgroup-root"), None);
    assert_eq!(settings.paths().count(), 2);
    let settings = read("kubelet", Some(yaml));
    assert_eq!(settings.get("kubelet-cgroups").unwrap().written, "kubeletCgroups: /y");
    let settings = read("kubelet", Some(r#"{"cgroupDriver": "systemd", "port": 1}"#));
    assert_eq!(value(settings.get("cgroup-driver")), Some("systemd"));
}

#[test]
fn kubelet_asks_for_more_than_it_is_told() {
    let names = |line: &str| -> Vec<String> {
        read(line, None).questions(true, Some("/own")).into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names("kubelet"), ["/own", "/kubepods"]);
    assert_eq!(names("kubelet --cgroup-driver=systemd --cgroup-root=/"), ["/own", "/kubepods.slice"]);
    assert_eq!(names("kubelet --kubelet-cgroups=/k --cgroups-per-qos=false"), ["/k"]);
    assert_eq!(names("kubelet --cgroup-root=/a --kubelet-cgroups=/a"), ["/a", "/a/kubepods"]);
    assert!(read("cadvisor", None).questions(false, Some("/own")).is_empty());
}

proptest! {
    #[test]
    fn any_text_is_read(arguments in prop::collection::vec("\\PC{0,12}", 0..6), config in "(\\PC|\n|:){0,60}") {
        let _ = Settings::read(&arguments, Some(&config)).paths().count();
    }
}
