//! A history to which a test writes as the daemon does.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use cgtrace_common::{CgroupId, HierarchyId, Kind, Task, UNIFIED};
use cgtrace_history::{
    Begin, Entry, EntryCgroup, EntryCreation, EntryEvent, EntryExec, EntryLive, EntryTask, EventQuery, Item,
    LiveSet, Opened, Options, Origin, Reader, Recorder, RemovedQuery, Requests, StoredEvent, StoredInstance,
};

pub const SECOND: u64 = 1_000_000_000;

/// The wall clock at zero of the boot clock: 2026-11-30, in ns.
pub const ZERO: i64 = 1_796_000_000_000_000_000;

/// A daemon's side of a history. Time advances by a second with each event.
pub struct Scene {
    pub recorder: Recorder,
    pub opened: Opened,
    pub seq: u64,
    pub now: u64,
    pub zero: i64,
}

/// Options for a history in this folder, or in memory.
pub fn options(folder: Option<&Path>) -> Options {
    Options {
        folder: folder.map(Path::to_owned),
        max_bytes: 64 << 20,
        max_age: None,
        boot_id: Arc::from("boot-1"),
    }
}

/// Options for a history of small segments.
pub fn small(folder: Option<&Path>) -> Options {
    Options { max_bytes: 4 << 20, ..options(folder) }
}

pub fn cgroup_on(hierarchy: u32, id: u64, path: &str) -> EntryCgroup {
    EntryCgroup {
        hierarchy: HierarchyId(hierarchy),
        hierarchy_name: Some(if hierarchy == 0 { "v2".into() } else { "pids".into() }),
        id: CgroupId(id),
        path: Some(path.as_bytes().into()),
    }
}

pub fn cgroup(id: u64, path: &str) -> EntryCgroup {
    cgroup_on(0, id, path)
}

pub fn task(pid: u32, uid: u32, comm: &str) -> EntryTask {
    let mut padded = [0; 16];
    padded[..comm.len()].copy_from_slice(comm.as_bytes());
    let task = Task {
        pid,
        tid: pid,
        ppid: 1,
        uid,
        start_boot_ns: u64::from(pid),
        cgroup: CgroupId(1),
        comm: padded,
    };
    EntryTask { task, cgroup: Some(b"/init.scope".as_slice().into()) }
}

pub fn live(id: u64, path: &str) -> EntryLive {
    EntryLive {
        cgroup: cgroup(id, path),
        creation: EntryCreation { boot_ns: 5, origin: Origin::Preexisting, by: None },
    }
}

impl Scene {
    /// A daemon starts after `seq` events, at `now`.
    pub fn start(options: Options, now: u64) -> Self {
        let (recorder, opened) = open(options);
        let scene = Self { recorder, seq: opened.resume_after, opened, now, zero: ZERO };
        scene.begin(false);
        scene
    }

    pub fn in_memory() -> Self {
        Self::start(options(None), 100 * SECOND)
    }

    pub fn begin(&self, continues: bool) {
        let Self { seq, now, zero, .. } = *self;
        self.recorder.record(Entry::Begin(Begin { seq, boot_ns: now, zero_wall_ns: zero, continues }));
    }

    /// Records an event, a second after the last one. Returns its number.
    pub fn event(&mut self, kind: Kind, cgroup: Option<EntryCgroup>, by: Option<EntryTask>) -> u64 {
        let event = self.new_event(kind, cgroup, by);
        self.record(event)
    }

    pub fn new_event(&self, kind: Kind, cgroup: Option<EntryCgroup>, by: Option<EntryTask>) -> EntryEvent {
        EntryEvent {
            seq: self.seq + 1,
            boot_ns: self.now + SECOND,
            zero_wall_ns: self.zero,
            kind,
            cgroup,
            from: None,
            task: None,
            threadgroup: None,
            by,
            inferred: false,
            lost: None,
            creation: None,
            exec: None,
        }
    }

    pub fn record(&mut self, event: EntryEvent) -> u64 {
        (self.seq, self.now) = (event.seq, event.boot_ns);
        self.recorder.record(Entry::Event(Box::new(event)));
        self.seq
    }

    pub fn mkdir(&mut self, id: u64, path: &str) -> u64 {
        self.event(Kind::Mkdir, Some(cgroup(id, path)), Some(task(1, 0, "systemd")))
    }

    pub fn rmdir(&mut self, id: u64, path: &str) -> u64 {
        self.event(Kind::Rmdir, Some(cgroup(id, path)), Some(task(2, 0, "rmdir")))
    }

    pub fn exec(&mut self, pid: u32, comm: &str, uid: u32) -> u64 {
        let mut event = self.new_event(Kind::Exec, Some(cgroup(1, "/")), None);
        event.task = Some(task(pid, uid, comm));
        event.exec = Some(EntryExec {
            cgroups: Box::from([cgroup(1, "/"), cgroup_on(3, 1, "/")]),
            ancestors: Box::from([task(9, 0, "bash"), task(1, 0, "systemd")]),
        });
        self.record(event)
    }

    /// The cgroups that exist on the default hierarchy.
    pub fn live(&mut self, cgroups: Vec<EntryLive>) {
        let live =
            LiveSet { boot_ns: self.now, zero_wall_ns: self.zero, hierarchies: vec![UNIFIED], cgroups };
        self.recorder.record(Entry::Live(Box::new(live)));
    }

    /// Asks the history thread.
    pub fn ask<T: Send + 'static>(&self, question: impl FnOnce(&mut Reader<'_>) -> T + Send + 'static) -> T {
        let (sender, receiver) = mpsc::channel();
        self.recorder.ask(move |reader| sender.send(question(reader)).unwrap());
        receiver.recv().unwrap()
    }

    /// Every stored event and gap.
    pub fn items(&self) -> Vec<Item> {
        self.ask(|reader| all_items(reader, &EventQuery::default()))
    }

    /// The stop of the daemon.
    pub fn end(self) {
        self.recorder.end(self.seq, self.now, self.zero);
    }

    /// A death without notice, after a commit.
    pub fn kill_after_commit(self) {
        let stored = self.recorder.state().stored;
        let before = std::time::Instant::now();
        // Something is pending; it is committed within a second.
        while self.recorder.state().stored == stored {
            assert!(before.elapsed() < std::time::Duration::from_secs(20), "nothing was committed");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        drop(self.recorder);
    }

    /// Waits while the queue is so full that events would be dropped.
    pub fn wait_for_room(&self) {
        while self.recorder.queued_bytes() > 1 << 20 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    pub fn requests(&self) -> Requests {
        self.recorder.take_requests()
    }
}

/// Opens a history. The thread of a recorder that was dropped ends a little later.
pub fn open(options: Options) -> (Recorder, Opened) {
    let began = std::time::Instant::now();
    let try_once = |options| Recorder::start(options, Box::new(|| {})).unwrap();
    let mut last = try_once(options.clone());
    let locked = |(recorder, _): &(Recorder, Opened)| {
        recorder.state().failure.is_some_and(|failure| failure.contains("another daemon"))
    };
    while locked(&last) && began.elapsed() < std::time::Duration::from_secs(2) {
        last = try_once(options.clone());
    }
    drop(options);
    last
}

/// Creates and removes cgroups until the history has this many segments.
pub fn fill(scene: &mut Scene, segments: u64) {
    let mut id = 1_000;
    while scene.recorder.state().segments < segments {
        for _ in 0..500 {
            id += 1;
            let path = format!("/churn/{id}");
            scene.event(Kind::Mkdir, Some(cgroup(id, &path)), None);
            scene.event(Kind::Rmdir, Some(cgroup(id, &path)), None);
            scene.wait_for_room();
        }
        let stored = scene.recorder.state().stored;
        while scene.recorder.state().stored == stored {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// Reads all pages of a query.
pub fn all_items(reader: &mut Reader<'_>, query: &EventQuery) -> Vec<Item> {
    let (mut query, mut items) = (query.clone(), Vec::new());
    loop {
        let page = reader.events(&query, &mut |_| true).unwrap();
        items.extend(page.items);
        query.resumed = true;
        match page.next {
            None => return items,
            Some(next) if query.newest_first => query.until_seq = next,
            Some(next) => query.after_seq = next,
        }
    }
}

/// Reads all pages of removed cgroups.
pub fn removed_pages(
    reader: &mut Reader<'_>,
    query: &RemovedQuery,
    matches: &mut dyn FnMut(Option<&[u8]>) -> bool,
) -> Vec<Vec<StoredInstance>> {
    let (mut query, mut pages) = (query.clone(), Vec::new());
    loop {
        let page = reader.removed(&query, matches).unwrap();
        assert!(page.instances.len() <= query.max.min(query.max_rows), "{query:?}");
        pages.push(page.instances);
        query.after = page.next;
        if query.after.is_none() {
            return pages;
        }
    }
}

/// The events, without the gaps.
pub fn events(items: &[Item]) -> Vec<&StoredEvent> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Event(event) => Some(&**event),
            Item::Gap(_) => None,
        })
        .collect()
}

/// `kind path`, or the reason of a gap in parentheses.
pub fn lines(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .map(|item| match item {
            Item::Event(event) => {
                let path = event.cgroup.as_ref().and_then(|cgroup| cgroup.path.as_deref()).unwrap_or(b"?");
                format!("{} {}", event.kind.as_str(), String::from_utf8_lossy(path))
            }
            Item::Gap(gap) => format!("({} {:?})", gap.reason.as_str(), gap.events),
        })
        .collect()
}
