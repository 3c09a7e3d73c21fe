//! `show`, `tree`, `list`: the state at a time, and what was removed.

use serde_json::json;

use crate::{
    cgtrace,
    history::{WEB, running, three_days, two_boots},
};

const END: &str = "cgtrace: note: the state at the end of the stored history, 2026-11-30T14:00:10.000Z\n";

#[test]
fn a_tree_of_a_time_is_that_of_then() {
    let folder = two_boots();
    let tree = |at: &str| cgtrace(folder.path(), &["tree", "-H", "v2", "--at", at]).with_code(0);
    assert_eq!(
        tree("2026-11-30 13:00:42").lines(),
        ["/  v2", "├─ init.scope", "├─ system.slice", "│  └─ web.service", "└─ system.slice-a"]
    );
    assert_eq!(
        tree("2026-11-30 13:00:25").lines(),
        ["/  v2", "├─ init.scope", "└─ system.slice", "   └─ web.service", "      └─ job"]
    );
    let last = cgtrace(folder.path(), &["tree", "/system.slice", "-H", "v2"]).with_code(0);
    assert_eq!(last.lines(), ["/system.slice  v2", "└─ db.service"]);
    assert_eq!(last.stderr, END);
}

#[test]
fn a_list_of_a_time_is_that_of_then() {
    let folder = two_boots();
    let list = |arguments: &[&str]| cgtrace(folder.path(), &[&["list"], arguments].concat()).with_code(0);
    let then = list(&["/**/*.service", "--at", "2026-11-30 13:00:15"]);
    assert_eq!(
        then.lines(),
        ["/system.slice/web.service  v2  created at 2026-11-30T13:00:10.000Z by systemd[1] \
             (uid 0, in /init.scope)"]
    );
    assert_eq!(then.stderr, "");
    let all = list(&["--at", "2026-11-30 13:00:25", "--json"]).json();
    let cgroups: Vec<_> = all[0]["cgroups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cgroup| json!([cgroup["hierarchy"], cgroup["path"], cgroup["level"], cgroup["parent_id"]]))
        .collect();
    assert_eq!(
        json!(cgroups),
        json!([
            ["v2", "/", 0, null],
            ["v2", "/init.scope", 1, 1],
            ["v2", "/system.slice", 1, 1],
            ["v2", "/system.slice/web.service", 2, 2],
            ["v2", "/system.slice/web.service/job", 3, 10],
            ["memory", "/", 0, null],
        ])
    );
    let last = list(&["/system.slice/*"]);
    assert!(
        last.stdout.contains("/system.slice/db.service") && !last.stdout.contains(WEB),
        "{}",
        last.stdout
    );
    assert_eq!(last.stderr, END);
}

#[test]
fn a_time_without_a_record_is_no_answer() {
    let folder = two_boots();
    for (at, why) in [
        ("2026-11-30 12:59:59", "the record begins at 2026-11-30T13:00:00"),
        ("2026-11-30 13:02:00", "no cgtrace daemon ran"),
        ("2026-11-30 13:30:00", "the cgtrace daemon was killed"),
        ("2026-11-30 14:01:00", "it ends at 2026-11-30T14:00:10"),
    ] {
        for command in [&["list"][..], &["tree"], &["show", WEB]] {
            let answer = cgtrace(folder.path(), &[command, &["--at", at]].concat()).with_code(3);
            assert!(answer.stderr.contains(why), "{at}: {}", answer.stderr);
            assert_eq!(answer.stdout, "");
        }
    }
}

/// Nothing is claimed about the time after the last commit: the copy may be older than it looks.
#[test]
fn the_history_of_a_running_daemon_ends_at_its_last_event() {
    let (folder, run) = running();
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        // SQLite creates the log's index anew.
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    for folder in [folder.path(), copy.path()] {
        let log = cgtrace(folder, &["log"]).with_code(0);
        assert!(log.stdout.contains("mkdir") && log.stderr.is_empty(), "{}{}", log.stdout, log.stderr);
        let end = cgtrace(folder, &["tree", "/system.slice"]).with_code(0);
        assert_eq!(end.lines(), ["/system.slice  v2", "└─ web.service"]);
        let later = cgtrace(folder, &["tree", "--at", "2026-11-30 13:00:11"]).with_code(3);
        assert!(later.stderr.contains("it ends at 2026-11-30T13:00:10"), "{}", later.stderr);
        let out = copy.path().join("merged");
        let merged = ["export", "--format", "sqlite", "-o", out.to_str().unwrap()];
        cgtrace(folder, &merged).with_code(0);
        let events = "select count(*) from events";
        let on = rusqlite::Connection::open(out).unwrap();
        assert_eq!(on.query_row(events, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }
    run.end(20);
}

#[test]
fn removed_cgroups_are_listed_newest_first() {
    let folder = two_boots();
    let removed = cgtrace(folder.path(), &["list", "--removed", "-H", "v2"]).with_code(0);
    assert_eq!(
        removed.lines()[removed.lines().len() - 9..],
        [
            "/system.slice/web.service  v2  lifetime 5 min",
            "  created at 2026-11-30T13:00:10.000Z by systemd[1] (uid 0, in /init.scope)",
            "  removed at 2026-11-30T13:05:10.000Z by systemd[1] (uid 0, in /init.scope)",
            "/system.slice-a  v2  lifetime 5 s",
            "  created at 2026-11-30T13:00:40.000Z by mkdir[60] (uid 1000, in /init.scope)",
            "  removed at 2026-11-30T13:00:45.000Z by rmdir[61] (uid 1000, in /init.scope)",
            "/system.slice/web.service/job  v2  lifetime 10 s",
            "  created at 2026-11-30T13:00:20.000Z by nginx[50] (uid 33, in /init.scope)",
            "  removed at 2026-11-30T13:00:30.000Z by nginx[50] (uid 33, in /init.scope)",
        ]
    );
    for line in removed.lines().iter().filter(|line| !line.contains("removed between")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let range = ["--since", "2026-11-30 13:00:30", "--until", "2026-11-30 13:00:45"];
    let some = cgtrace(folder.path(), &[&["list", "--removed", "--json"], &range[..]].concat()).json();
    let paths: Vec<_> =
        some[0]["removed"].as_array().unwrap().iter().map(|one| &one["instance"]["path"]).collect();
    assert_eq!(json!(paths), json!(["/system.slice-a", "/system.slice/web.service/job"]));
    let none = cgtrace(folder.path(), &["list", "--removed", "/none"]).with_code(1);
    assert!(none.stderr.contains("no removed cgroup matches; the history is complete since"));
}

#[test]
fn a_cgroup_is_shown_as_of_a_time_and_as_of_the_end() {
    let folder = two_boots();
    let then = cgtrace(folder.path(), &["show", WEB, "--at", "2026-11-30 13:00:15"]).with_code(0);
    assert_eq!(
        then.lines(),
        [
            WEB,
            "  present on v2: created at 2026-11-30T13:00:10.000Z by systemd[1] (uid 0, in /init.scope)",
            "    id 10",
        ]
    );
    let later = cgtrace(folder.path(), &["show", WEB, "--at", "2026-11-30 13:05:15"]).with_code(0);
    assert_eq!(
        later.lines(),
        [
            WEB,
            "  absent on v2: removed at 2026-11-30T13:05:10.000Z by systemd[1] (uid 0, in /init.scope), \
             after a lifetime of 5 min",
        ]
    );
    let end = cgtrace(folder.path(), &["show", WEB]).with_code(0);
    assert!(
        end.stdout.contains(
            "absent on v2: removed between 2026-11-30T13:05:20.000Z and 2026-11-30T14:00:00.000Z: \
             the cgtrace daemon was killed"
        ),
        "{}",
        end.stdout
    );
    assert!(end.stdout.contains("previous instance on v2: removed at 2026-11-30T13:05:10"), "{}", end.stdout);
    assert_eq!(end.stderr, END);
    let by_id = cgtrace(folder.path(), &["show", "30"]).with_code(0);
    assert!(
        by_id.stdout.contains("/system.slice/db.service\n  present on v2: created at")
            && by_id.stdout.contains("\n    id 30\n"),
        "{}",
        by_id.stdout
    );
    let json = cgtrace(folder.path(), &["--json", "show", WEB]).json();
    assert_eq!(json[0]["results"][0]["unit"], "web.service");
    assert_eq!(json[0]["results"][0]["hierarchies"][0]["previous"].as_array().unwrap().len(), 2);
    let none = cgtrace(folder.path(), &["show", "/none"]).with_code(1);
    assert!(
        none.stderr.contains("`/none` does not exist and has not been seen since 2026-11-30T14:00:00"),
        "{}",
        none.stderr
    );
}

#[test]
fn a_life_over_several_segments_is_one() {
    let folder = three_days();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4, "three segments and the lock");
    let removed = cgtrace(folder.path(), &["list", "--removed", "--json"]).json();
    let ids: Vec<_> =
        removed[0]["removed"].as_array().unwrap().iter().map(|one| &one["instance"]["id"]).collect();
    assert_eq!(json!(ids), json!([100, 103, 102, 101]));
    let show = cgtrace(folder.path(), &["show", "/long"]).with_code(0);
    assert!(
        show.stdout.contains("by mkdir[60] (uid 0, in /init.scope), after a lifetime of 2 d"),
        "{}",
        show.stdout
    );
    let then = cgtrace(folder.path(), &["tree", "/long", "--at", "2026-12-01 15:00:00"]).with_code(0);
    assert_eq!(then.lines(), ["/long  v2", "└─ inner"]);
}

#[test]
fn a_cgroup_that_did_not_exist_then_is_not_said_to_be_unknown() {
    let folder = two_boots();
    let shown = cgtrace(folder.path(), &["show", "/none", "--at", "2026-11-30 13:00:25"]).with_code(1);
    assert!(shown.stderr.contains("`/none` did not exist then"), "{}", shown.stderr);
    assert!(!shown.stderr.contains("seen since"), "{}", shown.stderr);
}
