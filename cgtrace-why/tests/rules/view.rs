//! The observer's inotify limits, namespace and mounts.

use cgtrace_why::{
    facts::{CgroupMount, Facts, InotifyLimit, Observer},
    report::Cause,
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, observer, on_v2, process};

fn agent(change: impl FnOnce(&mut Observer)) -> Facts {
    let mut agent = observer(process(9, "agent", "/docker/x", 250), &["agent"]);
    change(&mut agent);
    Facts { observer: Some(agent), ..on_v2(KUBELET, true) }
}

#[test]
fn inotify_limits_are_reported_when_near() {
    let used = |watches| {
        let watches = InotifyLimit { name: "fs.inotify.max_user_watches", used: Some(watches), max: 8_192 };
        let instances = InotifyLimit { name: "fs.inotify.max_user_instances", used: None, max: 128 };
        explain(&agent(|agent| agent.inotify = vec![watches, instances]))
    };
    let verdict = used(8_192);
    assert_eq!(verdict.cause, Cause::InotifyLimit);
    assert!(!verdict.visible);
    assert_eq!(verdict.remediation[0].text, "sysctl -w fs.inotify.max_user_watches=32768");
    assert!(used(8_000).holds(Cause::InotifyLimit) && used(8_000).visible);
    assert!(!used(4_000).holds(Cause::InotifyLimit));
}

fn mounted(root: &str) -> CgroupMount {
    CgroupMount { hierarchy: "v2".to_owned(), point: "/sys/fs/cgroup".to_owned(), root: root.to_owned() }
}

#[test]
fn a_container_sees_only_a_part() {
    let verdict = explain(&agent(|agent| agent.mounts = Some(vec![mounted("/docker/x")])));
    assert_eq!(verdict.cause, Cause::NamespaceMismatch);
    assert!(verdict.explanation.contains("only what is below /docker/x"));
    assert!(verdict.remediation[0].text.contains("/sys/fs/cgroup:/sys/fs/cgroup:ro"));
    let verdict = explain(&agent(|agent| agent.mounts = Some(vec![mounted("/system.slice")])));
    assert!(verdict.explanation.contains("sees it as '/kubelet.service'"));
    assert_eq!(explain(&agent(|agent| agent.mounts = Some(Vec::new()))).cause, Cause::NamespaceMismatch);
}

#[test]
fn a_namespace_hides_nothing_if_the_whole_hierarchy_is_mounted() {
    let own = |agent: &mut Observer| agent.namespace_root = Some("/docker/x".to_owned());
    assert_eq!(explain(&agent(own)).cause, Cause::NamespaceMismatch);
    let both = |agent: &mut Observer| {
        own(agent);
        agent.mounts = Some(vec![mounted("/")]);
    };
    assert_eq!(explain(&agent(both)).cause, Cause::Present);
    assert_eq!(explain(&agent(|_| {})).cause, Cause::Present);
}
