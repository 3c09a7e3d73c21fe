//! The asker's watches, namespace and mounts.

use cgtrace_why::rules::{Asker, Cause, Facts, Inotify, Mounted, explain};

use crate::scenes::{KUBELET, asker, on_v2, process};

fn agent(change: impl FnOnce(&mut Asker)) -> Facts {
    let mut who = asker(process(9, "agent", "/docker/x", 250), &["agent"]);
    change(&mut who);
    Facts { asker: Some(who), ..on_v2(KUBELET, true) }
}

#[test]
fn watches_run_out() {
    let used = |watches| {
        let limits =
            Inotify { max_watches: 8_192, watches: Some(watches), max_instances: 128, instances: None };
        explain(&agent(|who| who.inotify = Some(limits)))
    };
    let verdict = used(8_192);
    assert_eq!(verdict.cause(), Cause::WatchExhausted);
    assert!(!verdict.seen);
    assert_eq!(verdict.finding.fix[0], "sysctl -w fs.inotify.max_user_watches=32768");
    assert!(used(8_000).holds(Cause::WatchExhausted) && used(8_000).seen);
    assert!(!used(4_000).holds(Cause::WatchExhausted));
}

fn mounted(root: &str) -> Mounted {
    Mounted { hierarchy: "v2".to_owned(), point: "/sys/fs/cgroup".to_owned(), root: root.to_owned() }
}

#[test]
fn a_container_sees_a_part() {
    let verdict = explain(&agent(|who| who.mounts = Some(vec![mounted("/docker/x")])));
    assert_eq!(verdict.cause(), Cause::OtherHostView);
    assert!(verdict.finding.explanation.contains("only what is below /docker/x"));
    assert!(verdict.finding.fix[0].contains("/sys/fs/cgroup:/sys/fs/cgroup:ro"));
    let verdict = explain(&agent(|who| who.mounts = Some(vec![mounted("/system.slice")])));
    assert!(verdict.finding.explanation.contains("sees it as '/kubelet.service'"));
    assert_eq!(explain(&agent(|who| who.mounts = Some(Vec::new()))).cause(), Cause::OtherHostView);
}

#[test]
fn with_the_hosts_mounts_a_namespace_hides_nothing() {
    let own = |who: &mut Asker| who.namespace_root = Some("/docker/x".to_owned());
    assert_eq!(explain(&agent(own)).cause(), Cause::OtherHostView);
    let both = |who: &mut Asker| {
        own(who);
        who.mounts = Some(vec![mounted("/")]);
    };
    assert_eq!(explain(&agent(both)).cause(), Cause::Present);
    assert_eq!(explain(&agent(|_| {})).cause(), Cause::Present);
}
