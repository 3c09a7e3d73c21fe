//! The observer's watches, namespace and mounts.

use cgtrace_why::{
    facts::{Facts, Limit, Mounted, Observer},
    rules::explain,
};

use crate::fixtures::{Holds as _, KUBELET, observer, on_v2, process};

fn agent(change: impl FnOnce(&mut Observer)) -> Facts {
    let mut who = observer(process(9, "agent", "/docker/x", 250), &["agent"]);
    change(&mut who);
    Facts { observer: Some(who), ..on_v2(KUBELET, true) }
}

#[test]
fn watches_run_out() {
    let used = |watches| {
        let watches = Limit { name: "fs.inotify.max_user_watches", used: Some(watches), max: 8_192 };
        let instances = Limit { name: "fs.inotify.max_user_instances", used: None, max: 128 };
        explain(&agent(|who| who.inotify = vec![watches, instances]))
    };
    let verdict = used(8_192);
    assert_eq!(verdict.cause, "inotify-limit");
    assert!(!verdict.visible);
    assert_eq!(verdict.remediation[0], "sysctl -w fs.inotify.max_user_watches=32768");
    assert!(used(8_000).holds("inotify-limit") && used(8_000).visible);
    assert!(!used(4_000).holds("inotify-limit"));
}

fn mounted(root: &str) -> Mounted {
    Mounted { hierarchy: "v2".to_owned(), point: "/sys/fs/cgroup".to_owned(), root: root.to_owned() }
}

#[test]
fn a_container_sees_a_part() {
    let verdict = explain(&agent(|who| who.mounts = Some(vec![mounted("/docker/x")])));
    assert_eq!(verdict.cause, "namespace-mismatch");
    assert!(verdict.explanation.contains("only what is below /docker/x"));
    assert!(verdict.remediation[0].contains("/sys/fs/cgroup:/sys/fs/cgroup:ro"));
    let verdict = explain(&agent(|who| who.mounts = Some(vec![mounted("/system.slice")])));
    assert!(verdict.explanation.contains("sees it as '/kubelet.service'"));
    assert_eq!(explain(&agent(|who| who.mounts = Some(Vec::new()))).cause, "namespace-mismatch");
}

#[test]
fn with_the_hosts_mounts_a_namespace_hides_nothing() {
    let own = |who: &mut Observer| who.namespace_root = Some("/docker/x".to_owned());
    assert_eq!(explain(&agent(own)).cause, "namespace-mismatch");
    let both = |who: &mut Observer| {
        own(who);
        who.mounts = Some(vec![mounted("/")]);
    };
    assert_eq!(explain(&agent(both)).cause, "present");
    assert_eq!(explain(&agent(|_| {})).cause, "present");
}
