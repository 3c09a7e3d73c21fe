//! The questions of `docs/user/history.md`: each is asked of a history in which the answer is known, and must
//! print what the page shows.

#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: a failure must name its line")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cgtrace_common::{CgroupId, Kind, Task, UNIFIED};
use cgtrace_history::{Begin, Entry, EntryCgroup, EntryEvent, EntryTask, Options, Recorder};
use rusqlite::{Connection, OpenFlags, types::ValueRef};

/// The wall clock at zero of the boot clock: 2026-11-30, in ns.
const MIDNIGHT: i64 = 1_795_996_800_000_000_000;

/// Writes events as the daemon does.
struct Writer {
    recorder: Recorder,
    seq: u64,
    now: u64,
    ids: Vec<String>,
}

/// `HH:MM:SS.mmm` in ns since midnight.
fn clock(time: &str) -> u64 {
    let numbers: Vec<u64> = time.split([':', '.']).map(|number| number.parse().unwrap()).collect();
    let [hours, minutes, seconds, ms] = numbers[..] else { panic!("{time}") };
    (((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms) * 1_000_000
}

/// A task from `comm[pid]`, in this cgroup.
fn task(process: &str, uid: u32, cgroup: &str) -> EntryTask {
    let (name, pid) = process.strip_suffix(']').and_then(|text| text.split_once('[')).unwrap();
    let pid = pid.parse().unwrap();
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    let task = Task { pid, tid: pid, ppid: 1, uid, start_boot_ns: 1, cgroup: CgroupId(1), comm };
    EntryTask { task, cgroup: Some(cgroup.as_bytes().into()) }
}

fn systemd() -> EntryTask {
    task("systemd[1]", 0, "/init.scope")
}

fn ci() -> EntryTask {
    task("runner[611]", 998, "/system.slice/ci.service")
}

impl Writer {
    fn start(folder: &Path) -> Self {
        let options = Options {
            folder: Some(folder.to_owned()),
            max_bytes: 256 << 20,
            max_age: None,
            boot_id: Arc::from("44c3b4a5-9f1d-4c0a-8f39-0d1f5a3c7e21"),
        };
        let (recorder, _) = Recorder::start(options, Box::new(|| {})).unwrap();
        let now = clock("00:00:10.000");
        let begin = Begin { seq: 0, boot_ns: now, zero_wall_ns: MIDNIGHT, continues: false };
        recorder.record(Entry::Begin(begin));
        Self { recorder, seq: 0, now, ids: Vec::new() }
    }

    /// A cgroup; another instance of a path has another id.
    fn cgroup(&mut self, path: &str, is_new: bool) -> EntryCgroup {
        let known = self.ids.iter().rposition(|known| known == path).filter(|_| !is_new);
        let index = known.unwrap_or_else(|| {
            self.ids.push(path.to_owned());
            self.ids.len() - 1
        });
        EntryCgroup {
            hierarchy: UNIFIED,
            hierarchy_name: Some("v2".into()),
            id: CgroupId(100 + index as u64),
            path: Some(path.as_bytes().into()),
        }
    }

    fn event(&mut self, time: &str, kind: Kind, path: &str, by: EntryTask) -> EntryEvent {
        (self.seq, self.now) = (self.seq + 1, clock(time));
        EntryEvent {
            seq: self.seq,
            boot_ns: self.now,
            zero_wall_ns: MIDNIGHT,
            kind,
            cgroup: Some(self.cgroup(path, kind == Kind::Mkdir)),
            from: None,
            task: None,
            threadgroup: None,
            by: Some(by),
            inferred: false,
            lost: None,
            creation: None,
            exec: None,
        }
    }

    fn record(&self, event: EntryEvent) {
        self.recorder.record(Entry::Event(Box::new(event)));
    }

    fn mkdir(&mut self, time: &str, path: &str, by: EntryTask) {
        let event = self.event(time, Kind::Mkdir, path, by);
        self.record(event);
    }

    fn rmdir(&mut self, time: &str, path: &str, by: EntryTask) {
        let event = self.event(time, Kind::Rmdir, path, by);
        self.record(event);
    }

    fn moved(&mut self, time: &str, moved: &str, from: Option<&str>, to: &str, by: EntryTask) {
        let event = self.event(time, Kind::Attach, to, by);
        let from = from.map(|from| self.cgroup(from, false));
        let moved = Some(EntryTask { cgroup: None, ..task(moved, 0, "/") });
        self.record(EntryEvent { task: moved, threadgroup: Some(true), from, ..event });
    }

    /// A night on a machine.
    fn night(&mut self) {
        let (backup, stray) = ("/system.slice/backup.service", "/batch.slice/stray");
        self.mkdir("00:00:12.000", "/system.slice/ci.service", systemd());
        self.mkdir("00:30:00.000", "/batch.slice", systemd());
        self.mkdir("02:00:00.104", backup, systemd());
        self.moved("02:00:00.112", "(backup)[2001]", None, backup, systemd());
        self.mkdir("02:00:03.250", "/system.slice/backup.service/sync", task("backup[2001]", 0, backup));
        self.mkdir("02:14:07.500", stray, task("sh[2051]", 0, "/user.slice"));
        self.moved("02:14:07.530", "rsync[2044]", Some(backup), stray, task("sh[2051]", 0, "/user.slice"));
        self.rmdir("02:31:18.201", "/system.slice/backup.service/sync", systemd());
        self.rmdir("02:31:18.220", backup, systemd());
        // Another cgroup whose name begins like that one's.
        self.mkdir("02:40:00.000", "/system.slice/backup.service2", systemd());
        for (job, ms) in [(1, 12), (2, 480), (3, 999), (4, 2_500), (5, 1_000)] {
            let (path, start) = (format!("/batch.slice/job-{job}"), 3_100 + job * 5_000);
            let time = |ms: u64| format!("03:10:{:02}.{:03}", ms / 1_000, ms % 1_000);
            self.mkdir(&time(start), &path, ci());
            self.rmdir(&time(start + ms), &path, ci());
        }
        self.moved("04:00:00.000", "tar[2047]", Some(stray), "/system.slice/backup.service2", systemd());
        self.rmdir("05:20:10.000", stray, task("rmdir[3120]", 0, "/user.slice"));
        self.rmdir("05:48:00.750", "/system.slice/backup.service2", systemd());
    }

    /// Returns when everything is committed.
    fn commit(&self) {
        let began = Instant::now();
        while self.recorder.state().stored < self.seq {
            assert!(began.elapsed() < Duration::from_secs(20), "nothing was committed");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(self) {
        self.recorder.end(self.seq, self.now, MIDNIGHT);
    }
}

fn segment(folder: &Path) -> PathBuf {
    folder.join("segment-000001.db")
}

/// Each question of the page, and what it prints there.
fn documented() -> Vec<(String, String)> {
    let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/user/history.md");
    let page = fs::read_to_string(page).unwrap();
    let questions = page.split("```sql\n").skip(1).map(|rest| {
        let (sql, rest) = rest.split_once("```\n").unwrap();
        let (_, output) = rest.split_once("```text\n").unwrap_or_else(|| panic!("no output after {sql}"));
        (sql.to_owned(), output.split_once("```").unwrap().0.to_owned())
    });
    questions.collect()
}

/// What `sqlite3 -header -column` prints, without trailing spaces.
fn columns(on: &Connection, sql: &str) -> String {
    let mut statement = on.prepare(sql).unwrap();
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let text = |value: ValueRef<'_>| match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let rows = statement.query_map([], |row| (0..names.len()).map(|at| Ok(text(row.get_ref(at)?))).collect());
    let rows: Vec<Vec<String>> = rows.unwrap().map(Result::unwrap).collect();
    let widths: Vec<usize> = (0..names.len())
        .map(|at| rows.iter().chain([&names]).map(|row| row[at].chars().count()).max().unwrap_or_default())
        .collect();
    let line = |cells: &[String]| -> String {
        let cells: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ")
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let lines: Vec<String> = [&names, &rule].into_iter().chain(&rows).map(|row| line(row)).collect();
    trimmed(&lines.join("\n"))
}

fn trimmed(text: &str) -> String {
    text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// The `sqlite3` program's output, if there is one here.
fn sqlite3(file: &Path, sql: &str) -> Option<String> {
    let output =
        Command::new("sqlite3").args(["-readonly", "-header", "-column"]).arg(file).arg(sql).output();
    let output = output.ok()?;
    assert!(output.status.success(), "{sql}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(trimmed(&String::from_utf8(output.stdout).unwrap()))
}

#[test]
fn every_question_of_the_page_prints_what_the_page_shows() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path());
    writer.night();
    writer.end();
    let file = segment(folder.path());
    let on = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let questions = documented();
    assert_eq!(questions.len(), 5, "docs/user/history.md has five questions");
    for (sql, output) in questions {
        assert_eq!(columns(&on, &sql), output, "{sql}");
        if let Some(printed) = sqlite3(&file, &sql) {
            assert_eq!(printed, output, "sqlite3 prints something else: {sql}");
        }
    }
}

#[test]
fn the_questions_are_answered_while_the_daemon_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::start(folder.path());
    writer.night();
    writer.commit();
    let file = segment(folder.path());
    for (sql, output) in documented() {
        let on = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        assert_eq!(columns(&on, &sql), output, "{sql}");
        if let Some(printed) = sqlite3(&file, &sql) {
            assert_eq!(printed, output, "{sql}");
        }
    }
    // A reader does not hinder the daemon.
    let on = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    on.execute_batch("begin; select count(*) from events").unwrap();
    writer.mkdir("06:00:00.000", "/later", systemd());
    writer.commit();
    writer.end();
}
