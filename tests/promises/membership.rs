//! Moves, forks and execs with their task and cgroup; and when a cgroup becomes empty, frozen, thawed.

use std::{
    ffi::CString,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context as _, ensure};
use cgtrace::daemon::{
    index::{Index, Kind},
    probe::{Options, Probe, Records as _},
};
use cgtrace_host::process::padded_comm;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::Daemon,
    events::Follower,
    process::{ClonedChild, Sleeper, TwoThreads, copy_program, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("membership::attach_reports_the_task_and_the_mover", attach_reports_the_task_and_the_mover),
        trial("membership::a_second_move_reports_the_source", a_second_move_reports_the_source),
        trial("membership::a_child_comes_from_its_parents_cgroup", a_child_comes_from_its_parents_cgroup),
        trial("membership::an_orphan_comes_from_an_unknown_cgroup", an_orphan_comes_from_an_unknown_cgroup),
        trial("membership::a_sibling_comes_from_its_forkers_cgroup", a_sibling_comes_from_its_forkers_cgroup),
        trial("membership::a_thread_is_moved_on_v2", a_thread_is_moved_on_v2),
        trial("membership::a_thread_is_moved_on_v1", a_thread_is_moved_on_v1),
        trial("membership::cloned_into_a_cgroup", cloned_into_a_cgroup),
        trial("membership::an_inherited_cgroup_is_no_event", an_inherited_cgroup_is_no_event),
        trial("membership::the_last_exit_reports_empty", the_last_exit_reports_empty),
        trial("membership::freeze_and_thaw", freeze_and_thaw),
        trial("membership::a_tracked_comm_is_reported_at_exec", a_tracked_comm_is_reported_at_exec),
        trial("membership::t2_no_fork_and_no_exec_is_missed_under_load", forks_and_execs_under_load),
        trial("membership::parallel_execs_keep_their_ancestors", parallel_execs_keep_their_ancestors),
    ]
}

fn attach_reports_the_task_and_the_mover() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in crate::support::cgroup::both() {
        let cgroup = Cgroup::new(hierarchy, "attach")?;
        let sleeper = Sleeper::start()?;
        let mut follower = Follower::below(&daemon, &cgroup.name(), &["attach"])?;
        // Another process moves it.
        let mut mover = Command::new("sh")
            .args(["-c", "echo \"$1\" > \"$2\"", "sh"])
            .arg(sleeper.pid().to_string())
            .arg(cgroup.join("cgroup.procs"))
            .spawn()?;
        let mover_pid = mover.id();
        ensure!(mover.wait()?.success());
        let event = follower.next()?;
        let task = event.task.as_ref().context("no task")?;
        let by = event.by.as_ref().context("no mover")?;
        ensure!(task.pid == sleeper.pid() && task.tid == sleeper.pid(), "{event:?}");
        ensure!(task.comm == "sleep" && task.threadgroup == Some(true), "{event:?}");
        ensure!(by.pid == mover_pid && by.comm == "sh", "{event:?}");
        ensure!(event.hierarchy.as_deref() == Some(hierarchy) && event.id == Some(cgroup.id()?), "{event:?}");
        drop(sleeper);
    }
    Ok(())
}

fn a_second_move_reports_the_source() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "from")?;
    let (a, b) = (cgroup.join("a"), cgroup.join("b"));
    fs::create_dir(&a)?;
    fs::create_dir(&b)?;
    let sleeper = Sleeper::start()?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["attach"])?;
    put(&a, "cgroup.procs", sleeper.pid())?;
    put(&b, "cgroup.procs", sleeper.pid())?;
    let (_, second) = (follower.next()?, follower.next()?);
    ensure!(
        second.from.as_ref().and_then(|from| from.path.as_ref()) == Some(&cgroup.name_of(&a)),
        "{second:?}"
    );
    ensure!(second.path == Some(cgroup.name_of(&b)), "{second:?}");
    Ok(())
}

/// A process of a shell script, which prints its pid; killed when dropped.
struct OfScript {
    script: Child,
    pid: u32,
}

impl OfScript {
    fn start(script: &str, argument: &Path) -> anyhow::Result<Self> {
        let mut script = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(argument)
            .stdout(Stdio::piped())
            .spawn()
            .context("sh")?;
        let mut line = String::new();
        BufReader::new(script.stdout.as_mut().context("no pipe")?).read_line(&mut line)?;
        Ok(Self { script, pid: line.trim().parse().with_context(|| format!("no pid: {line:?}"))? })
    }
}

impl Drop for OfScript {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid.cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.script.wait();
    }
}

/// Two cgroups in one that is removed.
fn two_cgroups(hierarchy: &str) -> anyhow::Result<(Cgroup, PathBuf, PathBuf)> {
    let cgroup = Cgroup::new(hierarchy, "inherited")?;
    let (a, b) = (cgroup.join("a"), cgroup.join("b"));
    fs::create_dir(&a)?;
    fs::create_dir(&b)?;
    Ok((cgroup, a, b))
}

fn a_child_comes_from_its_parents_cgroup() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in crate::support::cgroup::both() {
        let (cgroup, a, b) = two_cgroups(hierarchy)?;
        let script = "echo $$ > \"$1/cgroup.procs\"; sleep 1000 > /dev/null & echo $!; wait";
        let child = OfScript::start(script, &a)?;
        let mut follower = Follower::below(&daemon, &cgroup.name_of(&b), &["attach"])?;
        put(&b, "cgroup.procs", child.pid)?;
        let event = follower.next()?;
        ensure!(event.task.as_ref().is_some_and(|task| task.pid == child.pid), "{event:?}");
        let from = event.from.as_ref().and_then(|from| from.path.as_ref());
        ensure!(from == Some(&cgroup.name_of(&a)), "{event:?}");
    }
    Ok(())
}

fn an_orphan_comes_from_an_unknown_cgroup() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in crate::support::cgroup::both() {
        let (cgroup, a, b) = two_cgroups(hierarchy)?;
        // Its parent exits; the new one is in another cgroup.
        let script = "echo $$ > \"$1/cgroup.procs\"; sleep 1000 > /dev/null & echo $!";
        let mut orphan = OfScript::start(script, &a)?;
        ensure!(orphan.script.wait()?.success());
        let mut follower = Follower::below(&daemon, &cgroup.name_of(&b), &["attach"])?;
        put(&b, "cgroup.procs", orphan.pid)?;
        let event = follower.next()?;
        ensure!(event.task.as_ref().is_some_and(|task| task.pid == orphan.pid), "{event:?}");
        ensure!(event.from.is_none(), "whose cgroup was it? {event:?}");
    }
    Ok(())
}

/// As a runtime's init: forked with `CLONE_PARENT` by a process that was put into the container's cgroup.
fn a_sibling_comes_from_its_forkers_cgroup() -> Outcome {
    let daemon = Daemon::start()?;
    let (cgroup, a, b) = two_cgroups("v2")?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["fork", "attach"])?;
    let (forker, sibling) = ClonedChild::with_sibling(&a)?;
    put(&b, "cgroup.procs", sibling.pid())?;
    let fork = follower.next()?;
    ensure!(
        fork.kind == "fork" && fork.task.as_ref().is_some_and(|task| task.pid == forker.pid()),
        "{fork:?}"
    );
    let attach = follower.next()?;
    ensure!(attach.kind == "attach", "a sibling in its forker's cgroup is no event: {attach:?}");
    let from = attach.from.as_ref().and_then(|from| from.path.as_ref());
    ensure!(from == Some(&cgroup.name_of(&a)), "{attach:?}");
    // Which cgroups of v1 it inherited was not recorded.
    if crate::support::cgroup::both().contains(&"pids") {
        let cgroup = Cgroup::new("pids", "sibling")?;
        let mut follower = Follower::below(&daemon, &cgroup.name(), &["attach"])?;
        put(cgroup.path(), "cgroup.procs", sibling.pid())?;
        let event = follower.next()?;
        ensure!(event.from.is_none(), "{event:?}");
    }
    Ok(())
}

/// A thread that only waits, and its tid.
struct Waiting {
    tid: u32,
    end: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Waiting {
    fn start() -> anyhow::Result<Self> {
        let (sender, tid) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _ = sender.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs());
            let _: Result<(), _> = ended.recv();
        });
        Ok(Self { tid: tid.recv()?, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

fn a_thread_is_moved_on_v2() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "threads")?;
    let inner = cgroup.join("t");
    fs::create_dir(&inner)?;
    // A threaded cgroup below a domain that contains the process.
    fs::write(inner.join("cgroup.type"), "threaded")?;
    let mut follower = Follower::below(&daemon, &cgroup.name_of(&inner), &["attach"])?;
    let two = TwoThreads::start()?;
    put(cgroup.path(), "cgroup.procs", two.pid())?;
    put(&inner, "cgroup.threads", two.second())?;
    let event = follower.next()?;
    let (pid, tid) = (two.pid(), two.second());
    let task = event.task.as_ref().context("no task")?;
    ensure!(task.tid == tid && task.pid == pid && tid != pid, "{event:?}");
    ensure!(task.threadgroup == Some(false), "{event:?}");
    Ok(())
}

fn a_thread_is_moved_on_v1() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("pids", "tasks")?;
    let waiting = Waiting::start()?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["attach"])?;
    put(cgroup.path(), "tasks", waiting.tid)?;
    let event = follower.next()?;
    let task = event.task.as_ref().context("no task")?;
    ensure!(task.tid == waiting.tid && task.pid == std::process::id(), "{event:?}");
    ensure!(task.threadgroup == Some(false), "{event:?}");
    Ok(())
}

/// KERNEL T9: cloning into a cgroup, empty or populated, causes no attach event.
fn cloned_into_a_cgroup() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "clone")?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["fork", "attach"])?;
    let mut children = Vec::new();
    for _ in 0..2 {
        // The second child enters a populated cgroup: no populated event either.
        let child = ClonedChild::into_cgroup(cgroup.path())?;
        let event = follower.next()?;
        let task = event.task.as_ref().context("no task")?;
        ensure!(event.kind == "fork" && task.pid == child.pid(), "{event:?}");
        ensure!(event.by.as_ref().is_some_and(|by| by.pid == std::process::id()), "{event:?}");
        ensure!(event.id == Some(cgroup.id()?) && event.path == Some(cgroup.name()), "{event:?}");
        ensure!(event.from.as_ref().is_some_and(|from| Some(from.id) != event.id), "{event:?}");
        children.push(child);
    }
    Ok(())
}

fn an_inherited_cgroup_is_no_event() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "inherit")?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["attach", "fork", "mkdir"])?;
    let procs = cgroup.join("cgroup.procs");
    let done = Command::new("sh")
        .args(["-c", "echo $$ > \"$1\"; for i in 1 2 3 4 5; do /bin/true; (true); done", "sh"])
        .arg(&procs)
        .status()?;
    ensure!(done.success());
    let mark = cgroup.join("mark");
    fs::create_dir(&mark)?;
    let events = follower.until_made(&cgroup.name_of(&mark))?;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    ensure!(kinds == ["attach"], "only the shell itself was moved: {events:?}");
    Ok(())
}

fn the_last_exit_reports_empty() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "empty")?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["populated", "empty"])?;
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    let event = follower.next()?;
    ensure!(event.kind == "populated" && event.path == Some(cgroup.name()), "{event:?}");
    drop(sleeper);
    let event = follower.next()?;
    ensure!(event.kind == "empty" && event.path == Some(cgroup.name()), "{event:?}");
    // The kernel reports it in an arbitrary task (KERNEL T11), so no process is named.
    ensure!(event.by.is_none(), "{event:?}");
    Ok(())
}

fn freeze_and_thaw() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "freeze")?;
    if !cgroup.join("cgroup.freeze").exists() {
        return Err(crate::support::skip("this kernel has no cgroup.freeze"));
    }
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["freeze", "frozen", "thaw", "thawed"])?;
    fs::write(cgroup.join("cgroup.freeze"), "1")?;
    let event = follower.next()?;
    ensure!(event.kind == "freeze", "{event:?}");
    ensure!(event.by.as_ref().is_some_and(|by| by.pid == std::process::id()), "{event:?}");
    ensure!(follower.next()?.kind == "frozen");
    fs::write(cgroup.join("cgroup.freeze"), "0")?;
    ensure!(follower.next()?.kind == "thaw");
    ensure!(follower.next()?.kind == "thawed");
    Ok(())
}

fn a_tracked_comm_is_reported_at_exec() -> Outcome {
    let daemon = Daemon::start_with(&["--track-exec", "cgtrace-kubele"])?;
    let cgroup = Cgroup::new("v2", "exec")?;
    let mut follower = Follower::below(&daemon, "/", &["exec"])?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("cgtrace-kubele");
    copy_program("/bin/sleep", &program)?;
    let mut child = Command::new("sh")
        .args(["-c", "echo $$ > \"$1/cgroup.procs\"; exec \"$2\" 0", "sh"])
        .arg(cgroup.path())
        .arg(&program)
        .spawn()?;
    let event = follower.next()?;
    let pid = child.id();
    child.wait()?;
    let task = event.task.as_ref().context("no task")?;
    ensure!(task.comm == "cgtrace-kubele" && task.pid == pid, "{event:?}");
    ensure!(event.path == Some(cgroup.name()), "{event:?}");
    Ok(())
}

/// KERNEL T2: sched tracepoints are preemptible on Linux 7, and the kernel skips a program that a preempted
/// task is in.
fn forks_and_execs_under_load() -> Outcome {
    const THREADS: usize = 8;
    const EACH: usize = 125;
    const COMM: &str = "cgtrace-child";
    let daemon = Daemon::start_with(&["--track-exec", COMM])?;
    let cgroup = Cgroup::new("v2", "forks")?;
    let folder = tempfile::tempdir()?;
    let program = folder.path().join(COMM);
    copy_program("/bin/true", &program)?;
    let program = CString::new(program.as_os_str().as_bytes())?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["fork", "exec", "mkdir", "lost"])?;
    let over = AtomicBool::new(false);
    let children = thread::scope(|scope| -> anyhow::Result<_> {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let clone_children = || -> anyhow::Result<Vec<u32>> {
            let mut pids = Vec::new();
            for _ in 0..EACH {
                let child = ClonedChild::executing(cgroup.path(), &program)?;
                pids.push(child.pid());
                // The events show whether it was executed; busybox fails under an unknown name.
                child.wait();
            }
            Ok(pids)
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(clone_children)).collect();
        let children: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        over.store(true, Ordering::Relaxed);
        children.into_iter().collect::<anyhow::Result<Vec<_>>>()
    })?;
    let mark = cgroup.join("mark");
    fs::create_dir(&mark)?;
    let events = follower.until_made(&cgroup.name_of(&mark))?;
    let mut children = children.concat();
    children.sort_unstable();
    ensure!(children.len() == THREADS * EACH, "{} children were cloned", children.len());
    for kind in ["fork", "exec"] {
        let of_kind = events.iter().filter(|event| event.kind == kind);
        let mut reported: Vec<u32> = of_kind.filter_map(|event| Some(event.task.as_ref()?.pid)).collect();
        reported.sort_unstable();
        ensure!(reported == children, "{} of {} were reported as {kind}", reported.len(), children.len());
    }
    ensure!(events.iter().all(|event| event.kind != "lost"), "lost records are reported");
    let status = daemon.client()?.status()?;
    let forks = status.programs.iter().find(|program| program.name == "sched_wakeup_new");
    ensure!(forks.is_some_and(|program| program.missed == Some(0)), "{forks:?}");
    ensure!(status.rings.iter().all(|ring| ring.lost == 0), "{:?}", status.rings);
    Ok(())
}

/// Their records come from several CPUs, those of one exec interleaved with those of another.
fn parallel_execs_keep_their_ancestors() -> Outcome {
    const AT_ONCE: usize = 6;
    let comm = padded_comm(b"cgtrace-six");
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("cgtrace-six");
    copy_program("/bin/true", &program)?;
    let mut probe = Probe::start(&Options { tracked: vec![comm], ..Options::default() })?;
    let mut index = Index::new();
    for round in 0..crate::support::rounds(40) {
        let barrier = Barrier::new(AT_ONCE);
        let children = thread::scope(|scope| {
            let start = || {
                barrier.wait();
                Command::new(&program).spawn()
            };
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(start)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Result<Vec<_>, _>>()
        })?;
        let pids: Vec<u32> = children.iter().map(Child::id).collect();
        for mut child in children {
            // If `true` is busybox, it fails under this name, but it was executed.
            child.wait()?;
        }
        let mut execs = Vec::new();
        probe.drain(&mut |event| {
            execs.extend(index.apply(&event).filter(|change| change.kind == Kind::Exec));
        });
        for pid in pids {
            let seen = execs.iter().find(|exec| exec.task.as_ref().is_some_and(|task| task.pid == pid));
            let seen = seen.with_context(|| format!("round {round}: the exec of {pid} was not seen"))?;
            let context = seen.exec.as_ref().context("an exec has a context")?;
            let parent = context.ancestors.first().map(|ancestor| ancestor.task.pid);
            ensure!(parent == Some(std::process::id()), "round {round}: {seen:?}");
        }
    }
    Ok(())
}
