//! What cannot be read, and what was asked wrongly.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crate::{
    answer, cgtrace,
    history::{three_days, two_boots},
};

const COMMANDS: [&[&str]; 5] =
    [&["log"], &["show", "/a"], &["tree"], &["list"], &["export", "--format", "jsonl"]];

#[test]
fn a_folder_without_a_history_is_no_answer() {
    let empty = tempfile::tempdir().unwrap();
    for command in COMMANDS.iter().chain(&[&["export", "--format", "sqlite"][..]]) {
        let answer = cgtrace(empty.path(), command).with_code(3);
        assert!(answer.stderr.contains("holds no history"), "{}", answer.stderr);
        let missing = cgtrace(Path::new("/no/such/folder"), command).with_code(3);
        assert!(
            missing.stderr.contains("`/no/such/folder`") && missing.stderr.contains("like /var/lib/cgtrace"),
            "{}",
            missing.stderr
        );
    }
    let file = cgtrace(Path::new("/dev/null"), &["log"]).with_code(3);
    assert!(file.stderr.contains("Not a directory"), "{}", file.stderr);
}

#[test]
fn a_newer_format_is_no_answer() {
    let folder = two_boots();
    let file = folder.path().join("segment-000001.db");
    rusqlite::Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    for command in COMMANDS.iter().chain(&[&["export", "--format", "sqlite"][..]]) {
        let answer = cgtrace(folder.path(), command).with_code(3);
        assert!(answer.stderr.contains("format 99 of a newer cgtrace"), "{}", answer.stderr);
    }
}

#[test]
fn a_damaged_segment_is_named_and_the_others_are_read() {
    let folder = three_days();
    fs::write(folder.path().join("segment-000002.db"), b"not a database, but long enough for one").unwrap();
    let log = cgtrace(folder.path(), &["log", "--json"]).with_code(0);
    assert!(log.stderr.contains("segment-000002.db` is left out"), "{}", log.stderr);
    let numbers: Vec<u64> = log.json().iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 8, 9]);
    let out = folder.path().join("merged");
    let merged =
        cgtrace(folder.path(), &["export", "--format=sqlite", "-o", out.to_str().unwrap()]).with_code(0);
    assert!(merged.stderr.contains("segment-000002.db` is left out"), "{}", merged.stderr);
    let merged = rusqlite::Connection::open(out).unwrap();
    let gap = "select after_seq, until_seq from gaps where reason = 'broken'";
    let gap: (i64, i64) = merged.query_row(gap, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(gap, (4, 7));
    // What began before the damaged segment ended in it, as far as is known.
    let ends: String = merged
        .query_row("select group_concat(\"end\") from instances where path = '/second'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(ends, "unknown: broken");
}

/// The header is intact, so that the damage shows when the events are read.
#[test]
fn a_segment_that_turns_out_to_be_damaged_is_a_gap() {
    let folder = three_days();
    let file = folder.path().join("segment-000002.db");
    let page: usize = {
        let on = rusqlite::Connection::open(&file).unwrap();
        let root = "select rootpage from sqlite_schema where name = 'event'";
        on.query_row(root, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap()
    };
    let mut bytes = fs::read(&file).unwrap();
    bytes[(page - 1) * 4_096..page * 4_096].fill(0x5a);
    fs::write(&file, bytes).unwrap();
    let log = cgtrace(folder.path(), &["log", "--json"]).with_code(0);
    let items: Vec<_> =
        log.json().iter().map(|line| line.get("seq").unwrap_or(&line["gap"]["reason"]).to_string()).collect();
    assert_eq!(items, ["1", "2", "3", "4", "\"broken\"", "8", "9"]);
    let out = folder.path().join("merged");
    let merged =
        cgtrace(folder.path(), &["export", "--format=sqlite", "-o", out.to_str().unwrap()]).with_code(0);
    assert!(merged.stderr.contains("segment-000002.db` is left out: it is damaged"), "{}", merged.stderr);
    let merged = rusqlite::Connection::open(out).unwrap();
    let count = |query: &str| merged.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("select count(*) from events"), 6);
    assert_eq!(count("select count(*) from gaps where reason = 'broken'"), 1);
    assert_eq!(count("select count(*) from cgroup where ended is null"), 5, "the four roots and /third");
}

#[test]
fn a_file_of_root_says_so() {
    let folder = two_boots();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(folder.path(), 0o755);
    mode(&folder.path().join("segment-000001.db"), 0o600);
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new(env!("CARGO_BIN_EXE_cgtrace"));
    if root {
        use std::os::unix::process::CommandExt as _;
        command.uid(65_534).gid(65_534);
    } else {
        mode(&folder.path().join("segment-000001.db"), 0);
    }
    let answer = answer(command.arg("log").arg("--history").arg(folder.path()));
    let answer = answer.with_code(3);
    assert!(answer.stderr.contains("for root and the group `cgtrace`"), "{}", answer.stderr);
}

#[test]
fn wrong_usage_says_what_is_right() {
    let folder = two_boots();
    for (arguments, expected) in [
        (&["log", "--since", "tomorrow"][..], "2026-11-30 13:00:00"),
        (&["list", "--at", "25:00"], "how long ago"),
        (&["list", "--at", "now", "--removed"], "cannot be used with"),
        (&["list", "--since", "1h"], "--removed"),
        (&["log", "--follow"], "cannot be used with"),
        (&["log", "--boot", "-7"], "expected 0, a negative number or one of"),
        (&["log", "--boot", "1"], "aaaaaaaa-0000-4000-8000-000000000001"),
        (&["log", "--kind", "born"], "mkdir"),
        (&["log", "-H", "cpu"], "expected one of: memory v2"),
        (&["log", "relative*"], "/relative*"),
        (&["list", "relative"], "/relative"),
        (&["export", "--format", "csv"], "perfetto"),
        (&["export", "--format", "sqlite", "--since", "1h"], "select * from events"),
    ] {
        let answer = cgtrace(folder.path(), arguments).with_code(2);
        assert!(answer.stderr.contains(expected), "{arguments:?}: {}", answer.stderr);
    }
}

#[test]
fn a_database_needs_files() {
    let mut without = Command::new(env!("CARGO_BIN_EXE_cgtrace"));
    let without =
        answer(without.args(["export", "--format", "sqlite"]).env("CGTRACE_RUNTIME_DIR", "/no/such/folder"));
    let without = without.with_code(3);
    assert!(
        without.stderr.contains("--history DIR") && without.stderr.contains("/no/such/folder"),
        "{}",
        without.stderr
    );
}
