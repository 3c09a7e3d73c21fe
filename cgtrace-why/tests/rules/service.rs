//! Units and processes that do not run, or run elsewhere.

use cgtrace_why::{facts::Facts, rules::explain};

use crate::fixtures::{Holds as _, KUBELET, on_v2, process, task, unit};

fn by_hand() -> Facts {
    let mut running = process(42, "kubelet", "/user.slice/user-0.slice/session-4.scope", 150);
    running.ancestors = vec![task(40, "bash"), task(39, "sshd")];
    Facts { processes: Some(vec![running]), ..on_v2(KUBELET, false) }
}

#[test]
fn started_from_a_shell() {
    let facts = Facts { unit: Some(unit("kubelet.service", "inactive", "dead")), ..by_hand() };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "started-outside-systemd");
    assert!(verdict.holds("unit-not-started"));
    assert!(verdict.explanation.contains("a login session"));
    let evidence = verdict.evidence.join("\n");
    assert!(
        evidence.contains("bash(40) <- sshd(39)") && evidence.contains("began at 1970-01-01T00:02:30.000Z")
    );
    assert!(evidence.contains("never since 1970-01-01T00:01:40.000Z"));
    assert_eq!(verdict.remediation[0], "stop pid 42, then systemctl start kubelet.service");
    assert!(verdict.remediation[1].contains("session-4.scope"));
}

#[test]
fn started_in_a_container() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let running = process(42, "kubelet", &format!("/docker/{id}"), 150);
    let facts = Facts { processes: Some(vec![running]), ..on_v2(KUBELET, false) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "started-outside-systemd");
    assert!(verdict.explanation.contains("docker container 0123"));
    assert_eq!(verdict.remediation, [format!("or use the name that is true now: '/docker/{id}'")]);
}

#[test]
fn a_unit_that_does_not_run() {
    let of = |active: &str, sub: &str| {
        let facts = Facts {
            unit: Some(unit("kubelet.service", active, sub)),
            processes: Some(Vec::new()),
            ..on_v2(KUBELET, false)
        };
        let verdict = explain(&facts);
        assert_eq!(verdict.cause, "unit-not-started");
        verdict
    };
    assert_eq!(of("inactive", "dead").remediation, ["systemctl start kubelet.service"]);
    assert_eq!(of("failed", "failed").remediation[0], "journalctl -u kubelet.service");
    assert!(of("active", "exited").explanation.contains("processes have ended"));
    assert_eq!(of("activating", "auto-restart").remediation, [format!("cgtrace wait {KUBELET}")]);
}

#[test]
fn a_disabled_unit_in_another_slice() {
    let mut unit = unit("kubelet.service", "inactive", "dead");
    unit.file_state = "disabled".to_owned();
    unit.slice = "kube-node.slice".to_owned();
    let finding = explain(&Facts { unit: Some(unit), ..on_v2(KUBELET, false) });
    assert_eq!(finding.remediation, ["systemctl enable --now kubelet.service"]);
    assert!(finding.evidence[1].contains("/kube.slice/kube-node.slice/kubelet.service"));
}

#[test]
fn nothing_of_that_name() {
    let mut none = unit("kubelet.service", "inactive", "dead");
    none.load_state = "not-found".to_owned();
    let facts = Facts { unit: Some(none), processes: Some(Vec::new()), ..on_v2(KUBELET, false) };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "no-such-process");
    assert!(verdict.holds("not-observed") && !verdict.present && !verdict.visible);
    // Where nobody looked, nothing is said.
    assert!(!explain(&Facts { processes: None, ..facts }).holds("no-such-process"));
}

#[test]
fn a_name_alone_makes_no_process_the_unit_s() {
    let mut stranger = process(66, "kubelet", "/mine/$(reboot) x", 150);
    (stranger.of_unit, stranger.task.uid) = (false, Some(65_534));
    let facts = Facts {
        unit: Some(unit("kubelet.service", "inactive", "dead")),
        processes: Some(vec![stranger.clone()]),
        ..on_v2(KUBELET, false)
    };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "unit-not-started");
    assert!(!verdict.holds("started-outside-systemd"));
    assert_eq!(verdict.remediation, ["systemctl start kubelet.service"]);
    let evidence = verdict.evidence.join("\n");
    assert!(evidence.contains("kubelet (pid 66, uid 65534") && evidence.contains("'/mine/$(reboot) x'"));
    let facts = Facts { unit: None, ..facts };
    let verdict = explain(&facts);
    assert_eq!(verdict.cause, "no-such-process");
    assert!(verdict.explanation.contains("Only processes of other users"), "{verdict:?}");
    assert!(verdict.remediation.iter().all(|fix| !fix.contains("mine")));
}

#[test]
fn what_others_may_write_to_is_not_advised() {
    let place = "/user.slice/user-0.slice/session-4.scope";
    let writable = [(place.to_owned(), "uid 7 may write to it on v2".to_owned())].into();
    let verdict = explain(&Facts { writable, ..by_hand() });
    assert_eq!(verdict.cause, "started-outside-systemd");
    assert!(verdict.remediation.iter().all(|fix| !fix.contains(place)), "{verdict:?}");
    let reason = format!("'{place}' is not advised: uid 7 may write to it on v2");
    assert!(verdict.evidence.contains(&reason), "{verdict:?}");
}
