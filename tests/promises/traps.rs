//! The kernel's traps that no other promise covers: a naive implementation fails each test.
//!
//! Elsewhere: T5 (a path cut or stale) in `names` and `rename`, T6 (names as text, or at most 255 bytes) in
//! `names`, T9 (no attach event) in `membership`, T11 (empty before rmdir) in `membership`, T14 (scan and
//! events) in `start`, T15 (a wakeup per event) in the harness `alone`, T16 (stopping at a busy record) in
//! `agreement`, T18 (hierarchies come and go) in `hierarchies`. T1 is avoided by construction: there are raw
//! tracepoints only.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace::daemon::index::{CgroupId, Child, Event, Index, Key, Leaf, Task, UNIFIED, What};
use cgtrace_client::{RuntimeDir, wire};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, any_v1_first, id, mount, unique},
    daemon::{Daemon, program},
    events::Follower,
    process::{Sleeper, put},
    skip, trial,
    verify::ensure_equal,
};

/// For releases, which happen one after another (`cgroup_destroy_wq`; in 6.18 `cgroup_release_wq`).
const PATIENCE: Duration = Duration::from_mins(3);

pub fn trials() -> Vec<Trial> {
    vec![
        trial("traps::t3_ids_beyond_32_bits", wide_ids),
        trial("traps::t4_one_id_on_two_hierarchies", one_id_twice),
        trial("traps::t7_release_comes_late_and_removes_nothing", release),
        trial("traps::t7_release_is_recorded_without_followers", release_without_followers),
        trial("traps::t8_generations_of_one_name", generations),
        trial("traps::t10_an_attach_that_changes_nothing", attach_again),
        trial("traps::t13_by_id_right_after_the_event", by_id_at_once),
        trial("traps::t16_two_cpus_write_during_queries", two_writers),
        trial("traps::t19_reading_creates_no_hierarchy", reading_changes_nothing),
        trial("traps::t20_no_tracefs_is_needed", no_tracefs),
        trial("traps::t21_inside_a_cgroup_namespace", cgroup_namespace),
        trial("traps::t22_a_cgroup_named_deleted", called_deleted),
    ]
}

/// A v2 cgroup uses about 18 ids, so that 2^32 ids last for hours of churn. That is too long for a test, so
/// this one tests the index and the wire.
fn wide_ids() -> Outcome {
    let mut index = Index::new();
    let wide = (7_u64 << 32) + 42;
    let creator = Task {
        pid: 1,
        tid: 1,
        ppid: 0,
        comm: *b"test\0\0\0\0\0\0\0\0\0\0\0\0",
        uid: 0,
        cgroup: CgroupId(1),
        start_boot_ns: 0,
    };
    for (id, leaf) in [(42, "narrow"), (wide, "wide")] {
        let key = Key { hierarchy: UNIFIED, id: CgroupId(id) };
        let what = What::Mkdir(Child {
            key,
            parent: CgroupId(1),
            level: 1,
            leaf: Leaf { bytes: leaf.as_bytes().into(), truncated: false },
            by: creator,
        });
        index.apply(&Event { boot_ns: id, what });
    }
    for (id, name) in [(42, b"/narrow".as_slice()), (wide, b"/wide")] {
        let key = index.resolve(UNIFIED, name).context("not found by its path")?;
        ensure!(key.id == CgroupId(id), "{key:?}");
    }
    let event: wire::Event = serde_json::from_str(&serde_json::to_string(&wire::Event {
        id: Some(u64::MAX),
        ..wire::Event::default()
    })?)?;
    ensure!(event.id == Some(u64::MAX), "{event:?}");
    Ok(())
}

fn one_id_twice() -> Outcome {
    let daemon = Daemon::start()?;
    let lookup = wire::Lookup { ids: Some(vec![1]), ..wire::Lookup::default() };
    let answers = daemon.client()?.lookup_with(&lookup)?.results;
    let hierarchies = daemon.client()?.status()?.hierarchies.len();
    // The root of each is 1.
    ensure!(answers.len() == hierarchies, "{} answers for {hierarchies} hierarchies", answers.len());
    // One path on two hierarchies is two cgroups.
    let unified = Cgroup::new("v2", "twice")?;
    let name = unified.name();
    let pids = Cgroup::at(&mount("pids")?, name.trim_start_matches('/'))?;
    ensure!(daemon.row(&name, "v2")?.current.map(|instance| instance.id) == Some(unified.id()?));
    ensure!(daemon.row(&name, "pids")?.current.map(|instance| instance.id) == Some(pids.id()?));
    drop(pids);
    ensure!(
        !daemon.row(&name, "pids")?.present && daemon.row(&name, "v2")?.present,
        "the wrong one was removed"
    );
    Ok(())
}

fn release() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "release")?;
    let mut follower = Follower::below(&daemon, "/", &["release"])?;
    follower.wait_up_to(PATIENCE)?;
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    fs::create_dir(&path)?;
    let first = id(&path)?;
    fs::remove_dir(&path)?;
    fs::create_dir(&path)?;
    let second = id(&path)?;
    // The first one's release comes from a workqueue, after the second one was created.
    loop {
        let event = follower.next()?;
        ensure!(event.by.is_none(), "a kworker is credited: {event:?}");
        if event.id == Some(first) {
            break;
        }
    }
    let row = daemon.row(&name, any())?;
    ensure!(row.present && row.current.as_ref().is_some_and(|instance| instance.id == second), "{row:?}");
    Ok(())
}

/// A subscriber to other paths receives no release, but it is recorded and counted.
fn release_without_followers() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "released")?;
    // Only of this cgroup: a debug build cannot report all events of the other tests at their rate.
    let _other = Follower::below(&daemon, &cgroup.name(), &["mkdir", "rmdir"])?;
    let path = cgroup.join("x");
    fs::create_dir(&path)?;
    fs::remove_dir(&path)?;
    let since = Instant::now();
    loop {
        // A query drains the rings; a release does not wake the daemon for them.
        daemon.row(&cgroup.name(), any())?;
        let text = daemon.client()?.metrics()?.text;
        let mut releases = text
            .lines()
            .filter(|line| line.starts_with("cgtrace_events_total{") && line.contains("kind=\"release\""));
        if releases.any(|line| !line.ends_with(" 0")) {
            return Ok(());
        }
        ensure!(since.elapsed() < PATIENCE, "no release was recorded: {text}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn generations() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "generations")?;
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    for _ in 0..crate::support::rounds(20_000) {
        fs::create_dir(&path)?;
        fs::remove_dir(&path)?;
    }
    let row = daemon.row(&name, any())?;
    ensure!(!row.present && !row.previous.is_empty(), "{row:?}");
    fs::create_dir(&path)?;
    let row = daemon.row(&name, any())?;
    ensure!(row.current.as_ref().map(|instance| instance.id) == Some(id(&path)?), "{row:?}");
    let mut ids: Vec<u64> = row.previous.iter().map(|previous| previous.id).collect();
    ids.dedup();
    ensure!(
        ids.len() == row.previous.len() && ids.is_sorted_by(|a, b| a > b),
        "each once, newest first: {ids:?}"
    );
    daemon.verify()
}

fn attach_again() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "again")?;
    let sleeper = Sleeper::start()?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["attach"])?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    let (first, second) = (follower.next()?, follower.next()?);
    ensure!(first.id == second.id, "{second:?}");
    // The kernel reports it as a move; `from` equals the destination.
    ensure!(second.from.as_ref().map(|from| from.id) == second.id, "{second:?}");
    Ok(())
}

fn by_id_at_once() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "by-id")?;
    let mut client = daemon.client()?;
    for round in 0..200 {
        let path = cgroup.join(format!("{round}"));
        fs::create_dir(&path)?;
        let lookup = wire::Lookup { ids: Some(vec![id(&path)?]), ..wire::Lookup::default() };
        let answers = client.lookup_with(&lookup)?.results;
        let found = answers.iter().any(|answer| answer.present && answer.path == cgroup.name_of(&path));
        ensure!(found, "round {round}: {answers:?}");
        fs::remove_dir(&path)?;
    }
    Ok(())
}

/// A record of one CPU may be incomplete while another CPU's, later in the ring, is complete.
fn two_writers() -> Outcome {
    let daemon = Daemon::start()?;
    let writers: Vec<_> = [any(), any_v1_first()]
        .into_iter()
        .map(|hierarchy| -> Result<_> {
            let cgroup = Cgroup::new(hierarchy, "writers")?;
            let mut client = daemon.client()?;
            Ok(thread::spawn(move || -> Outcome {
                let path = cgroup.join("x");
                let lookup = wire::Lookup {
                    paths: vec![cgroup.name_of(&path)],
                    hierarchy: Some(hierarchy.to_owned()),
                    ..wire::Lookup::default()
                };
                for round in 0..crate::support::rounds(2_000) {
                    fs::create_dir(&path)?;
                    let present = client.lookup_with(&lookup)?.results.iter().any(|answer| answer.present);
                    ensure!(present, "round {round}: absent after mkdir returned");
                    fs::remove_dir(&path)?;
                    let present = client.lookup_with(&lookup)?.results.iter().any(|answer| answer.present);
                    ensure!(!present, "round {round}: present after rmdir returned");
                }
                Ok(())
            }))
        })
        .collect::<Result<_>>()?;
    for writer in writers {
        writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    Ok(())
}

fn reading_changes_nothing() -> Outcome {
    let look = || -> Result<(String, Vec<String>)> {
        let controllers = fs::read_to_string("/proc/cgroups")?;
        // The number of cgroups per controller changes with other load.
        let controllers = controllers
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                Some(format!("{} {}\n", fields.next()?, fields.next()?))
            })
            .collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let mounts = mounts.lines().filter(|line| line.contains(" - cgroup"));
        Ok((controllers, mounts.map(str::to_owned).filter(|line| !line.contains("cgtrace-test")).collect()))
    };
    let before = look()?;
    let daemon = Daemon::start()?;
    daemon.verify()?;
    drop(daemon);
    ensure!(look()? == before, "the daemon mounted something: {before:?}");
    Ok(())
}

fn no_tracefs() -> Outcome {
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c"])
        .arg(
            "umount -l /sys/kernel/tracing 2>/dev/null; umount -l /sys/kernel/debug 2>/dev/null; \
             test ! -e /sys/kernel/tracing/events && exec \"$@\"",
        )
        .arg("sh")
        .arg(program().get_program())
        .args(["--socket", "/nonexistent/cgtrace.socket", "verify"])
        .output()
        .map_err(|error| skip(format!("unshare is missing: {error}")))?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    Ok(())
}

/// Paths in /proc and of mounts created inside are relative to the namespace's root; ours are relative to the
/// real root.
fn cgroup_namespace() -> Outcome {
    let cgroup = Cgroup::new(any(), "namespace")?;
    let inner = cgroup.join("inner");
    fs::create_dir(&inner)?;
    let folder = tempfile::tempdir()?;
    let runtime_dir = RuntimeDir::new(folder.path());
    // The process is in the cgroup when it creates its namespace, so that this becomes the namespace's root;
    // the whole hierarchy is still mounted from before, and a part of it by a mount inside.
    let script = "echo $$ > \"$1/cgroup.procs\"; shift; part=$1; shift; \
                  exec unshare -m -C --propagation private sh -c \
                  'mount -t cgroup2 none \"$0\" && exec \"$@\"' \"$part\" \"$@\"";
    let part = folder.path().join("part");
    fs::create_dir(&part)?;
    let mut daemon = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&inner)
        .arg(&part)
        .arg(program().get_program())
        .arg("--runtime-dir")
        .arg(runtime_dir.path())
        .arg("daemon")
        .stderr(Stdio::null())
        .spawn()?;
    let outcome = (|| -> Outcome {
        let mut client = None;
        for _ in 0..1_000 {
            ensure!(daemon.try_wait()?.is_none(), "the daemon ended");
            client = cgtrace_client::Client::connect_to(runtime_dir.clone()).ok();
            if client.is_some() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let mut client = client.context("the daemon does not answer")?;
        // By the real path: an existing cgroup and a new one.
        ensure!(client.exists(&cgroup.name_of(&inner))?, "the real path is not known");
        let created = inner.join("created");
        fs::create_dir(&created)?;
        ensure!(client.exists(&cgroup.name_of(&created))?, "a new one is not known by its real path");
        ensure!(!client.exists("/created")?, "it is known by its path inside the namespace");
        let verified = ensure_equal(&mut client)?;
        ensure!(verified.compared > 0, "{verified:?}");
        Ok(())
    })();
    let _ = daemon.kill();
    daemon.wait()?;
    outcome
}

fn called_deleted() -> Outcome {
    let daemon = Daemon::start()?;
    let leaf = format!("{} (deleted)", unique("called"));
    let cgroup = Cgroup::at(&mount("v2")?, &leaf)?;
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    let shown = daemon.run(&["show", "--pid", &sleeper.pid().to_string()])?;
    let text = String::from_utf8_lossy(&shown.stdout);
    let after = text.split_once(&cgroup.name()).map(|(_, after)| after);
    let member = format!("sleep[{}]", sleeper.pid());
    ensure!(after.is_some_and(|after| after.contains("present") && after.contains(&member)), "{shown:?}");
    ensure!(!daemon.client()?.exists(cgroup.name().trim_end_matches(" (deleted)"))?);
    Ok(())
}
