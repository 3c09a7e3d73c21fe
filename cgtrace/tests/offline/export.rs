//! `export`.

use std::{collections::BTreeMap, fs};

use rusqlite::Connection;
use serde_json::Value;

use crate::{
    cgtrace,
    history::{three_days, two_boots},
};

#[test]
fn json_lines_are_those_of_the_log() {
    let folder = two_boots();
    let log = cgtrace(folder.path(), &["log", "--all", "--json"]).stdout;
    assert_eq!(cgtrace(folder.path(), &["export", "--format", "jsonl"]).with_code(0).stdout, log);
    let range = ["--since", "2026-11-30 13:00:45", "--until", "2026-11-30 13:05:10"];
    let some = cgtrace(folder.path(), &[&["export", "--format", "jsonl"], &range[..]].concat()).stdout;
    assert_eq!(some, cgtrace(folder.path(), &[&["log", "--all", "--json"], &range[..]].concat()).stdout);
    let out = tempfile::NamedTempFile::new().unwrap();
    let name = out.path().to_str().unwrap();
    let written = cgtrace(folder.path(), &["export", "--format", "jsonl", "-o", name]).with_code(0);
    assert_eq!(written.stdout, "");
    assert_eq!(fs::read_to_string(out.path()).unwrap(), log);
}

/// The merged database is a history of one segment, and answers as the original does.
#[test]
fn a_merged_database_answers_as_the_segments_do() {
    for folder in [two_boots(), three_days()] {
        let copy = tempfile::tempdir().unwrap();
        let file = copy.path().join("segment-000001.db");
        let name = file.to_str().unwrap();
        cgtrace(folder.path(), &["export", "--format", "sqlite", "-o", name]).with_code(0);
        for arguments in [
            &["log", "--all", "--json"][..],
            &["log", "--json", "-n", "3"],
            &["list"],
            &["list", "--removed"],
            &["tree", "--at", "2026-11-30 13:00:25"],
            &["show", "/system.slice/web.service"],
            &["show", "/long"],
        ] {
            let (original, merged) = (cgtrace(folder.path(), arguments), cgtrace(copy.path(), arguments));
            assert_eq!(original.stdout, merged.stdout, "{arguments:?}");
            assert_eq!((original.code, original.stderr), (merged.code, merged.stderr), "{arguments:?}");
        }
    }
}

#[test]
fn a_merged_database_can_be_read_by_its_views() {
    let folder = three_days();
    let out = tempfile::NamedTempFile::new().unwrap();
    let database = std::process::Command::new(env!("CARGO_BIN_EXE_cgtrace"))
        .args(["export", "--format", "sqlite", "--history"])
        .arg(folder.path())
        .output()
        .unwrap();
    fs::write(out.path(), database.stdout).unwrap();
    let on = Connection::open(out.path()).unwrap();
    let check: String = on.query_row("pragma integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let count = |query: &str| on.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("select count(*) from events"), 9);
    // One row per life, whichever segments it is stored in.
    let mut lives = on
        .prepare("select path, id, created, removed, \"end\" from instances where id >= 100 order by id")
        .unwrap();
    let lives: Vec<(String, String)> = lives
        .query_map([], |row| {
            let times = (row.get::<_, Option<String>>(2)?, row.get::<_, Option<String>>(3)?);
            let time = |time: Option<String>| time.map_or("-".to_owned(), |time| time[..19].to_owned());
            Ok((row.get(0)?, format!("{} {} {}", time(times.0), time(times.1), row.get::<_, String>(4)?)))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let expected = [
        ("/long", "2026-11-30 13:00:10 2026-12-02 13:00:31 rmdir"),
        ("/long/first", "2026-11-30 13:00:11 2026-11-30 13:00:12 rmdir"),
        ("/second", "2026-12-01 13:00:01 2026-12-01 13:00:20 rmdir"),
        ("/long/inner", "2026-12-01 13:00:21 2026-12-02 13:00:30 rmdir"),
        ("/third", "2026-12-02 13:00:02 - exists"),
    ];
    let lives: Vec<(&str, &str)> = lives.iter().map(|(path, life)| (&**path, &**life)).collect();
    assert_eq!(lives, expected);
}

/// Slices by process and track.
type Tracks<'t> = BTreeMap<(u64, u64), Vec<&'t Value>>;

#[test]
fn a_trace_has_a_slice_per_cgroup_and_no_overlaps() {
    let folder = two_boots();
    let trace = cgtrace(folder.path(), &["export", "--format", "perfetto"]).with_code(0).stdout;
    let trace: Value = serde_json::from_str(&trace).unwrap();
    assert_eq!(trace["otherData"]["begin"], "2026-11-30T13:00:00.000000000Z");
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |phase: &str| -> Vec<&Value> { events.iter().filter(|event| event["ph"] == phase).collect() };
    let mut tracks = Tracks::new();
    for slice in of("X") {
        let key = (slice["pid"].as_u64().unwrap(), slice["tid"].as_u64().unwrap());
        tracks.entry(key).or_default().push(slice);
    }
    let names: BTreeMap<(u64, u64), &str> = of("M")
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| {
            let key = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
            (key, event["args"]["name"].as_str().unwrap())
        })
        .collect();
    for (key, slices) in &tracks {
        assert!(names.contains_key(key), "{slices:?}");
        let mut end = 0.0;
        for slice in slices {
            let (from, duration) = (slice["ts"].as_f64().unwrap(), slice["dur"].as_f64().unwrap());
            assert!(from >= end && duration >= 0.0, "{slice}");
            end = from + duration;
        }
    }
    let slices = |path: &str| -> Vec<(f64, f64)> {
        let of_path = tracks.iter().filter(|(key, _)| names[*key] == path);
        let slices = of_path.flat_map(|(_, slices)| slices);
        slices
            .map(|slice| (slice["ts"].as_f64().unwrap() / 1e6, slice["dur"].as_f64().unwrap() / 1e6))
            .collect()
    };
    assert_eq!(slices("/system.slice/web.service/job"), [(20.0, 10.0)]);
    // Twice: the second life ended while no daemon ran.
    assert_eq!(slices("/system.slice/web.service"), [(10.0, 300.0), (320.0, 3_280.0)]);
    assert_eq!(slices("/system.slice/db.service"), [(3_610.0, 0.0)]);
    assert_eq!(slices("stopped"), [(60.0, 240.0)]);
    assert_eq!(slices("killed"), [(320.0, 3_280.0)]);
    // Tracks are sorted as a tree.
    let v2: Vec<&str> = names.values().copied().skip_while(|name| *name != "/").skip(1).take(7).collect();
    assert_eq!(
        v2,
        [
            "/",
            "/init.scope",
            "/system.slice",
            "/system.slice/db.service",
            "/system.slice/web.service",
            "/system.slice/web.service/job",
            "/system.slice-a"
        ]
    );
    let instants: Vec<&str> = of("i").iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(instants, ["attach sh[50]", "exec nginx[50]"]);
    for instant in of("i") {
        let key = (instant["pid"].as_u64().unwrap(), instant["tid"].as_u64().unwrap());
        assert_eq!(names[&key], "/system.slice/web.service");
    }
}
