//! Writes histories as a daemon does.

use std::{path::Path, sync::Arc, thread::sleep, time::Duration};

use cgtrace_common::{CgroupId, HierarchyId, Kind, Task};
use cgtrace_history::{
    Begin, Entry, EntryCgroup, EntryCreation, EntryEvent, EntryExec, EntryLive, EntryTask, LiveSet, Opened,
    Options, Origin, Recorder,
};
use tempfile::TempDir;

pub const BOOT_A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub const BOOT_B: &str = "bbbbbbbb-0000-4000-8000-000000000002";

const SECOND: u64 = 1_000_000_000;
/// 2026-11-30 12:00:00 UTC.
const NOON: i64 = 1_796_040_000_000_000_000;
const DAY: u64 = 86_400;

/// One run of a daemon. Its times are seconds after 13:00:00.
pub struct Run {
    recorder: Recorder,
    seq: u64,
    recorded: u64,
    /// The boot clock at 12:00:00, in seconds.
    boot_at_noon: u64,
}

impl Run {
    /// Begins a run at `seconds` on a boot that began `uptime` seconds before 12:00:00.
    pub fn begin(folder: &Path, boot: &str, uptime: u64, seconds: u64, live: &[(u64, &str)]) -> Self {
        let options = Options {
            folder: Some(folder.to_owned()),
            max_bytes: 256 << 20,
            max_age: None,
            boot_id: Arc::from(boot),
        };
        let (recorder, opened) = start(&options);
        let run = Self { recorder, seq: opened.last_seq, recorded: 0, boot_at_noon: uptime };
        let begin = Begin {
            seq: run.seq,
            boot_ns: run.boot_ns(seconds),
            zero_wall_ns: run.zero_wall_ns(),
            continues: false,
        };
        run.recorder.record(Entry::Begin(begin));
        let creation = |id: u64| EntryCreation {
            boot_ns: run.boot_ns(if id == 10 { 10 } else { seconds }),
            origin: if id == 10 { Origin::Observed } else { Origin::Preexisting },
            by: (id == 10).then(|| task(b"systemd", 1, 0)),
        };
        let cgroups = live
            .iter()
            .map(|(id, path)| EntryLive { cgroup: cgroup(*id, path), creation: creation(*id) })
            .chain([EntryLive {
                cgroup: EntryCgroup {
                    hierarchy: HierarchyId(4),
                    hierarchy_name: Some("memory".into()),
                    ..cgroup(1, "/")
                },
                creation: creation(1),
            }])
            .collect();
        run.recorder.record(Entry::Live(Box::new(LiveSet {
            boot_ns: run.boot_ns(seconds),
            zero_wall_ns: run.zero_wall_ns(),
            hierarchies: vec![HierarchyId(0), HierarchyId(4)],
            cgroups,
        })));
        run
    }

    fn boot_ns(&self, seconds: u64) -> u64 {
        (self.boot_at_noon + 3_600 + seconds) * SECOND
    }

    fn zero_wall_ns(&self) -> i64 {
        NOON - i64::try_from(self.boot_at_noon * SECOND).unwrap()
    }

    pub fn event(&mut self, seconds: u64, kind: Kind, id: u64, path: &str, by: EntryTask) {
        let event = self.base(seconds, kind);
        self.record(EntryEvent { cgroup: Some(cgroup(id, path)), by: Some(by), ..event });
    }

    pub fn mkdir(&mut self, seconds: u64, id: u64, path: &str, by: EntryTask) {
        self.event(seconds, Kind::Mkdir, id, path, by);
    }

    pub fn rmdir(&mut self, seconds: u64, id: u64, path: &str, by: EntryTask) {
        self.event(seconds, Kind::Rmdir, id, path, by);
    }

    pub fn base(&mut self, seconds: u64, kind: Kind) -> EntryEvent {
        self.seq += 1;
        EntryEvent {
            seq: self.seq,
            boot_ns: self.boot_ns(seconds),
            zero_wall_ns: self.zero_wall_ns(),
            kind,
            cgroup: None,
            from: None,
            task: None,
            threadgroup: None,
            by: None,
            inferred: false,
            lost: None,
            creation: None,
            exec: None,
        }
    }

    pub fn record(&mut self, event: EntryEvent) {
        self.recorded += 1;
        self.recorder.record(Entry::Event(Box::new(event)));
    }

    /// Waits until everything is committed.
    pub fn commit(&self) {
        for _ in 0..200 {
            if self.recorder.state().stored >= self.recorded {
                return;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("not committed: {:?}", self.recorder.state());
    }

    pub fn end(self, seconds: u64) {
        self.recorder.end(self.seq, self.boot_ns(seconds), self.zero_wall_ns());
    }

    /// Ends as by SIGKILL.
    pub fn kill(self) {
        self.commit();
        drop(self);
    }
}

/// Starts when the thread of the run before has released the folder, which is after that run has ended.
fn start(options: &Options) -> (Recorder, Opened) {
    for _ in 0..200 {
        let (recorder, opened) = Recorder::start(options.clone(), Box::new(|| {})).unwrap();
        if recorder.state().failure.is_none() {
            return (recorder, opened);
        }
        drop(recorder);
        sleep(Duration::from_millis(20));
    }
    panic!("the folder is not released");
}

pub fn cgroup(id: u64, path: &str) -> EntryCgroup {
    EntryCgroup {
        hierarchy: HierarchyId(0),
        hierarchy_name: Some("v2".into()),
        id: CgroupId(id),
        path: Some(path.as_bytes().into()),
    }
}

pub fn task(name: &[u8], pid: u32, uid: u32) -> EntryTask {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name);
    let task = Task { pid, tid: pid, ppid: 1, uid, start_boot_ns: 1, cgroup: CgroupId(0), comm };
    EntryTask { task, cgroup: Some(b"/init.scope"[..].into()) }
}

const ROOTS: [(u64, &str); 3] = [(1, "/"), (2, "/system.slice"), (3, "/init.scope")];
pub const WEB: &str = "/system.slice/web.service";

/// Three runs on two boots: 13:00:00 to 13:01:00, stopped; 13:05:00, killed after 13:05:20; and, after a
/// reboot, 14:00:00 to 14:00:30.
pub fn two_boots() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let systemd = || task(b"systemd", 1, 0);
    let nginx = || task(b"nginx", 50, 33);
    let mut run = Run::begin(folder.path(), BOOT_A, 100, 0, &ROOTS);
    run.mkdir(10, 10, WEB, systemd());
    let moved = run.base(11, Kind::Attach);
    run.record(EntryEvent {
        cgroup: Some(cgroup(10, WEB)),
        from: Some(cgroup(3, "/init.scope")),
        task: Some(task(b"sh", 50, 33)),
        threadgroup: Some(true),
        by: Some(systemd()),
        ..moved
    });
    let exec = run.base(12, Kind::Exec);
    run.record(EntryEvent {
        task: Some(EntryTask { cgroup: Some(WEB.as_bytes().into()), ..nginx() }),
        exec: Some(EntryExec { cgroups: [cgroup(10, WEB)].into(), ancestors: [systemd()].into() }),
        ..exec
    });
    run.mkdir(20, 11, "/system.slice/web.service/job", nginx());
    run.rmdir(30, 11, "/system.slice/web.service/job", nginx());
    // Sorts between its sibling and that one's descendants, byte by byte.
    run.mkdir(40, 12, "/system.slice-a", task(b"mkdir", 60, 1000));
    run.rmdir(45, 12, "/system.slice-a", task(b"rmdir", 61, 1000));
    run.end(60);
    let mut run = Run::begin(folder.path(), BOOT_A, 100, 300, &[&ROOTS[..], &[(10, WEB)]].concat());
    run.rmdir(310, 10, WEB, systemd());
    run.mkdir(320, 20, WEB, systemd());
    run.kill();
    let mut run = Run::begin(folder.path(), BOOT_B, 7, 3_600, &ROOTS);
    run.mkdir(3_610, 30, "/system.slice/db.service", systemd());
    run.end(3_630);
    folder
}

/// A run that goes on, with its folder.
pub fn running() -> (TempDir, Run) {
    let folder = tempfile::tempdir().unwrap();
    let mut run = Run::begin(folder.path(), BOOT_A, 100, 0, &ROOTS);
    run.mkdir(10, 10, WEB, task(b"systemd", 1, 0));
    run.commit();
    (folder, run)
}

/// One run of three days, each in a segment of its own.
pub fn three_days() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mkdir = || task(b"mkdir", 60, 0);
    let mut run = Run::begin(folder.path(), BOOT_A, 100, 0, &ROOTS);
    run.mkdir(10, 100, "/long", mkdir());
    run.mkdir(11, 101, "/long/first", mkdir());
    run.rmdir(12, 101, "/long/first", mkdir());
    run.mkdir(DAY + 1, 102, "/second", mkdir());
    run.commit();
    sleep(Duration::from_millis(300));
    run.rmdir(DAY + 20, 102, "/second", mkdir());
    run.mkdir(DAY + 21, 103, "/long/inner", mkdir());
    run.mkdir(2 * DAY + 2, 104, "/third", mkdir());
    run.commit();
    sleep(Duration::from_millis(300));
    run.rmdir(2 * DAY + 30, 103, "/long/inner", mkdir());
    run.rmdir(2 * DAY + 31, 100, "/long", mkdir());
    run.end(2 * DAY + 40);
    folder
}
