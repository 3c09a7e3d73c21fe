//! `log`.

use serde_json::{Value, json};

use crate::{
    cgtrace,
    history::{BOOT_A, BOOT_B, WEB, two_boots},
};

/// The numbers of the events, and the reasons of the gaps.
fn items(lines: &[Value]) -> Vec<Value> {
    let item = |line: &Value| line.get("seq").unwrap_or_else(|| &line["gap"]["reason"]).clone();
    lines.iter().map(item).collect()
}

#[test]
fn a_log_has_the_events_the_gaps_and_the_boots() {
    let folder = two_boots();
    let log = cgtrace(folder.path(), &["log", "--all"]).with_code(0);
    let by = |path: &str, process: &str| format!("{path}  by {process}, in /init.scope)");
    assert_eq!(
        log.lines(),
        [
            "-- 2026-11-30",
            &by("13:00:10.000  mkdir   /system.slice/web.service  v2", "systemd[1] (uid 0"),
            &by(
                "13:00:11.000  attach  /system.slice/web.service  sh[50]  from /init.scope  v2",
                "systemd[1] (uid 0"
            ),
            "13:00:12.000  exec    nginx[50]",
            &by("13:00:20.000  mkdir   /system.slice/web.service/job  v2", "nginx[50] (uid 33"),
            &by("13:00:30.000  rmdir   /system.slice/web.service/job  v2", "nginx[50] (uid 33"),
            &by("13:00:40.000  mkdir   /system.slice-a  v2", "mkdir[60] (uid 1000"),
            &by("13:00:45.000  rmdir   /system.slice-a  v2", "rmdir[61] (uid 1000"),
            "-- 13:01:00 … 13:05:00: no cgtrace daemon ran",
            &by("13:05:10.000  rmdir   /system.slice/web.service  v2", "systemd[1] (uid 0"),
            &by("13:05:20.000  mkdir   /system.slice/web.service  v2", "systemd[1] (uid 0"),
            "-- 13:05:20 … 14:00:00: the cgtrace daemon was killed; its last second is missing, too",
            &format!("-- boot {BOOT_B}"),
            &by("14:00:10.000  mkdir   /system.slice/db.service  v2", "systemd[1] (uid 0"),
        ]
    );
    let utc = cgtrace(folder.path(), &["log", "--utc", "-n", "1"]).with_code(0);
    assert!(utc.lines()[1].starts_with("14:00:10.000Z  mkdir"), "{}", utc.stdout);
    assert_eq!(log.stderr, "");
}

#[test]
fn json_has_an_event_or_a_gap_per_line() {
    let folder = two_boots();
    let log = cgtrace(folder.path(), &["--json", "log", "--all"]).with_code(0).json();
    assert_eq!(json!(items(&log)), json!([1, 2, 3, 4, 5, 6, 7, "stopped", 8, 9, "killed", 10]));
    let moved = &log[1];
    assert_eq!(moved["task"]["threadgroup"], true);
    assert_eq!(moved["unit"], "web.service");
    assert_eq!(moved["from"]["path"], "/init.scope");
    // Another machine has another current boot.
    assert_eq!(moved["boot_id"], BOOT_A);
    assert_eq!(log[7]["gap"]["until"]["time"], "2026-11-30T13:05:00.000000000Z");
}

#[test]
fn a_log_is_selected_by_path_kind_hierarchy_and_process() {
    let folder = two_boots();
    let selected = |arguments: &[&str]| {
        let lines = cgtrace(folder.path(), &[&["--json", "log"], arguments].concat()).with_code(0).json();
        let mut numbers = items(&lines);
        numbers.retain(Value::is_number);
        json!(numbers)
    };
    assert_eq!(selected(&["/system.slice/web.service/job", "--all"]), json!([3, 4, 5]));
    // The exec of a tracked process is no lifecycle event.
    assert_eq!(selected(&["/system.slice/web.service/job"]), json!([4, 5]));
    assert_eq!(selected(&["/system.slice/*.service", "--kind", "mkdir"]), json!([1, 9, 10]));
    assert_eq!(selected(&["--kind", "exec,attach"]), json!([2, 3]));
    assert_eq!(selected(&["--by", "nginx"]), json!([4, 5]));
    assert_eq!(selected(&["--by", "61"]), json!([7]));
    assert_eq!(selected(&["-H", "v2", "--kind", "rmdir"]), json!([5, 7, 8]));
    // A move concerns both cgroups.
    assert_eq!(selected(&["/init.scope", "--kind", "attach"]), json!([2]));
}

#[test]
fn a_log_is_selected_by_time_and_boot() {
    let folder = two_boots();
    let selected = |arguments: &[&str]| {
        json!(items(&cgtrace(folder.path(), &[&["--json", "log"], arguments].concat()).with_code(0).json()))
    };
    assert_eq!(
        selected(&["--since", "2026-11-30 13:00:45", "--until", "2026-11-30T13:05:10Z"]),
        json!([7, "stopped", 8])
    );
    assert_eq!(selected(&["--until", "2026-11-30 13:00:11"]), json!([1, 2]));
    for boot in [&["--boot", "0"][..], &["--boot", BOOT_B], &["--boot", &BOOT_B.replace('-', "")]] {
        assert_eq!(selected(boot), json!([10]));
    }
    assert_eq!(selected(&["--boot", "-1", "--kind", "rmdir"]), json!([5, 7, "stopped", 8, "killed"]));
}

#[test]
fn the_newest_events_are_printed_oldest_first() {
    let folder = two_boots();
    let newest = |arguments: &[&str]| {
        json!(items(&cgtrace(folder.path(), &[&["--json", "log"], arguments].concat()).with_code(0).json()))
    };
    assert_eq!(newest(&["-n", "1"]), json!([10]));
    assert_eq!(newest(&["-n", "2"]), json!([9, "killed", 10]));
    assert_eq!(newest(&["-n", "4"]), json!([7, "stopped", 8, 9, "killed", 10]));
    assert_eq!(newest(&["-n", "1000"]), newest(&[]));
    assert_eq!(newest(&["-n", "2", "--kind", "rmdir"]), json!([7, "stopped", 8, "killed"]));
    assert_eq!(newest(&["-n", "1", WEB, "--until", "2026-11-30 13:00:10"]), json!([1]));
}

#[test]
fn without_a_match_the_horizon_is_named() {
    let folder = two_boots();
    let none = cgtrace(folder.path(), &["log", "/no.such", "--kind", "mkdir"]).with_code(1);
    assert!(
        none.stderr.contains("no event matches; the history is complete since 2026-11-30T14:00:00"),
        "{}",
        none.stderr
    );
}
