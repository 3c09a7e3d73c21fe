//! The cgroup settings in an observer's command line and configuration, and what they do to a cgroup.

use std::{fs, path::Path};

use cgtrace_why::{
    facts::{CgroupMount, Facts, InotifyLimit, Observer},
    report::Cause,
    rules::{Arguments, Document, Setting, Settings, explain},
};
use proptest::prelude::*;

use crate::fixtures::{Holds as _, KUBELET, observer, on_v2, process};

fn words(line: &str) -> Arguments {
    Arguments { words: line.split(' ').skip(1).map(str::to_owned).collect(), ..Arguments::default() }
}

fn document(file: Option<&str>, text: &str) -> Document {
    Document::parse(file.map(str::to_owned), text).unwrap_or_default()
}

fn read(line: &str, config: Option<&str>) -> Settings {
    let documents: Vec<Document> = config.map(|text| document(None, text)).into_iter().collect();
    Settings::read(&[words(line)], &documents)
}

fn value(setting: Option<&Setting>) -> Option<&str> {
    setting.map(|setting| setting.value.as_str())
}

fn paths(settings: &Settings) -> Vec<String> {
    settings.observed_paths(true, Some("/own")).into_iter().map(|observed| observed.path).collect()
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
fn flags_for_an_embedded_kubelet_are_unwrapped() {
    let line = "k3s server --config /k3s.yaml --kubelet-arg=kubelet-cgroups=/a --kubelet-arg --runtime-cgroups=/b \
                --cgroup-root=/not-kubelets";
    let arguments = Arguments { embedding: true, ..words(line) };
    let settings = Settings::read(&[arguments], &[]);
    assert_eq!(settings.get("kubelet-cgroups").unwrap().source, "--kubelet-arg=kubelet-cgroups=/a");
    assert_eq!(settings.get("runtime-cgroups").unwrap().source, "--kubelet-arg --runtime-cgroups=/b");
    assert_eq!((settings.get("config"), settings.get("cgroup-root")), (None, None));
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
fn later_files_override_earlier_ones() {
    let documents = [
        document(
            None,
            "kubeletCgroups: /file\nsystemCgroups: /s\ncgroupRoot: /r\nfeatureGates: {A: true, B: true}",
        ),
        document(Some("/d/10.conf"), "kubeletCgroups: /ten\nsystemCgroups: null\nfeatureGates: {A: false}"),
        document(Some("/d/20.conf"), "kubeletCgroups: /twenty"),
    ];
    let settings = Settings::read(&[words("kubelet --cgroup-root=/flag")], &documents);
    assert_eq!(settings.get("kubelet-cgroups").unwrap().source, "kubeletCgroups: /twenty (in /d/20.conf)");
    assert_eq!(settings.get("system-cgroups"), None);
    assert_eq!(value(settings.get("cgroup-root")), Some("/flag"));
    assert!(settings.gate("A").is_none() && settings.gate("B").is_some());
}

#[test]
fn kubelet_observes_its_own_and_the_pods_cgroup() {
    let of = |line: &str| paths(&read(line, None));
    assert_eq!(of("kubelet"), ["/own", "/kubepods"]);
    assert_eq!(of("kubelet --cgroup-driver=systemd --cgroup-root=/"), ["/own", "/kubepods.slice"]);
    assert_eq!(of("kubelet --kubelet-cgroups=/k --cgroups-per-qos=false"), ["/k"]);
    assert_eq!(of("kubelet --cgroup-root=/a --kubelet-cgroups=/a"), ["/a", "/a/kubepods"]);
    assert!(read("cadvisor", None).observed_paths(false, Some("/own")).is_empty());
    let systemd = "kubelet --cgroup-driver=systemd --cgroup-root=/kubelet";
    assert_eq!(of(systemd), ["/kubelet.slice", "/own", "/kubelet.slice/kubelet-kubepods.slice"]);
}

#[test]
fn reserved_cgroups_are_observed_if_they_are_enforced() {
    let reserved = "cgroupDriver: systemd\ncgroupsPerQOS: false\nkubeReservedCgroup: /kube-reserved\n\
                    systemReservedCgroup: /system.slice\n";
    let of = |enforced: &str| {
        paths(&read("kubelet", Some(&format!("{reserved}enforceNodeAllocatable: {enforced}"))))
    };
    assert_eq!(of("[pods]"), ["/own"]);
    assert_eq!(of("[pods, kube-reserved]"), ["/kube.slice/kube-reserved.slice", "/own"]);
    assert_eq!(of("\n- system-reserved-compressible"), ["/system.slice", "/own"]);
}

/// Facts about an absent or present path that a kubelet's flag names.
fn named(flag: &'static str, line: &str, is_present: bool) -> Facts {
    let arguments: Vec<&str> = line.split(' ').collect();
    let kubelet = observer(process(42, "kubelet", KUBELET, 250), &arguments);
    let observed = kubelet.settings.observed_paths(true, None).into_iter();
    let observed = observed
        .into_iter()
        .find(|observed| observed.setting.as_ref().is_some_and(|(name, _)| *name == flag));
    let observed = observed.unwrap_or_default();
    let mount =
        CgroupMount { hierarchy: "v2".to_owned(), point: "/sys/fs/cgroup".to_owned(), root: "/".to_owned() };
    Facts {
        observer: Some(kubelet),
        setting: observed.setting,
        mounts: vec![mount],
        ..on_v2(&observed.path, is_present)
    }
}

#[test]
fn quotation_marks_and_joined_flags_are_found() {
    let verdict = explain(&named("kubelet-cgroups", "kubelet --kubelet-cgroups=\"/x\"", false));
    assert_eq!((verdict.cause, verdict.visible), (Cause::InvalidSetting, false));
    assert!(verdict.remediation[0].text.starts_with("set it to /x without quotation marks"), "{verdict:?}");
    assert!(
        !explain(&named("kubelet-cgroups", "kubelet --kubelet-cgroups=/x", false))
            .holds(Cause::InvalidSetting)
    );

    let joined =
        Arguments { words: vec!["--kubelet-cgroups=/x --runtime-cgroups=/y".to_owned()], ..words("k") };
    let settings = Settings::read(&[joined], &[]);
    let observed = settings.observed_paths(true, None);
    let hidden = observed.iter().find(|observed| observed.path == "/y").unwrap();
    let kubelet =
        Observer { settings: settings.clone(), ..observer(process(42, "kubelet", KUBELET, 250), &[]) };
    let facts = Facts { observer: Some(kubelet), setting: hidden.setting.clone(), ..on_v2("/y", true) };
    let verdict = explain(&facts);
    assert!(!verdict.visible && verdict.holds(Cause::InvalidSetting), "{verdict:#?}");
    let facts = Facts { setting: observed[0].setting.clone(), ..on_v2(&observed[0].path, false) };
    let verdict = explain(&facts);
    assert!(verdict.explanation.contains("instead of /x"), "{verdict:#?}");
    assert!(verdict.remediation[0].text.contains("$VARIABLE"));
}

#[test]
fn enforced_reserved_cgroups_must_exist() {
    let flags = "kubelet --kube-reserved-cgroup=/kube --enforce-node-allocatable=pods,kube-reserved";
    let verdict = explain(&named("kube-reserved-cgroup", flags, false));
    assert_eq!(verdict.cause, Cause::RequiredByObserver);
    assert_eq!(verdict.remediation[0].command.as_deref(), Some("mkdir -p /sys/fs/cgroup/kube"));
    assert_eq!(explain(&named("kube-reserved-cgroup", flags, true)).cause, Cause::Present);
    let systemd = format!("{flags} --cgroup-driver=systemd");
    let verdict = explain(&named("kube-reserved-cgroup", &systemd, false));
    assert_eq!(verdict.remediation[0].command.as_deref(), Some("systemctl start kube.slice"));
    let root = explain(&named("cgroup-root", "kubelet --cgroup-root=/r", false));
    assert_eq!(root.cause, Cause::RequiredByObserver);
}

#[test]
fn a_kubelet_that_takes_statistics_from_the_runtime_is_not_cadvisor() {
    let watches = InotifyLimit { name: "fs.inotify.max_user_watches", used: Some(8_192), max: 8_192 };
    let path = "/kubepods.slice/kubepods-burstable.slice";
    let verdict = |flag: &str| {
        let kubelet = observer(process(42, "kubelet", KUBELET, 250), &["kubelet", "--docker-only", flag]);
        let kubelet = Observer { inotify: vec![watches.clone()], ..kubelet };
        explain(&Facts { observer: Some(kubelet), ..on_v2(path, true) })
    };
    let cri = verdict("--feature-gates=A=false,PodAndContainerStatsFromCRI=true");
    assert!(cri.cause == Cause::Present && cri.visible && cri.holds(Cause::StatsFromCri), "{cri:#?}");
    assert!(!cri.holds(Cause::InotifyLimit) && !cri.holds(Cause::FilteredByObserver));
    let cadvisor =
        verdict("--feature-gates=PodAndContainerStatsFromCRI=true,PodAndContainerStatsFromCRI=false");
    assert!(cadvisor.holds(Cause::InotifyLimit) && !cadvisor.holds(Cause::StatsFromCri));
}

#[test]
fn a_kubelet_that_refuses_v1_does_not_start() {
    let mount = |point: &str, hierarchy: &str| CgroupMount {
        hierarchy: hierarchy.to_owned(),
        point: point.to_owned(),
        root: "/".to_owned(),
    };
    let verdict = |config: &str, mounts: &[CgroupMount]| {
        let kubelet = Some(read("kubelet", Some(config)));
        explain(&Facts { kubelet, mounts: mounts.to_vec(), ..on_v2("/kubepods", false) })
    };
    let v1 = [mount("/sys/fs/cgroup/unified", "v2"), mount("/sys/fs/cgroup/memory", "memory")];
    let refused = verdict("failCgroupV1: true", &v1);
    assert_eq!(refused.cause, Cause::CgroupV1Unsupported);
    assert!(refused.remediation[0].text.contains("systemd.unified_cgroup_hierarchy=1"));
    assert!(verdict("cgroupDriver: systemd", &v1).holds(Cause::CgroupV1Unsupported));
    assert!(!verdict("failCgroupV1: false", &v1).holds(Cause::CgroupV1Unsupported));
    let v2 = [mount("/sys/fs/cgroup", "v2")];
    assert!(!verdict("failCgroupV1: true", &v2).holds(Cause::CgroupV1Unsupported));
}

#[test]
fn configurations_of_every_supported_version_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kubelet");
    let mut versions = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let settings = read("kubelet --config=x", Some(&text));
        // The first line has what is expected.
        let expected = text.lines().find_map(|line| line.strip_prefix("# looks up: ")).unwrap();
        assert_eq!(paths(&settings).join(" "), expected, "{}", path.display());
        versions += 1;
    }
    assert!(versions >= 5, "{versions}");
}

proptest! {
    #[test]
    fn any_text_is_accepted(arguments in prop::collection::vec("\\PC{0,12}", 0..6), config in "(\\PC|\n|:){0,60}") {
        let documents: Vec<Document> = Document::parse(None, &config).into_iter().collect();
        let arguments = Arguments { words: arguments, ..Arguments::default() };
        let _ = Settings::read(&[arguments], &documents).observed_paths(true, None).len();
    }
}
