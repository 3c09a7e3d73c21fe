//! Who is moved where, by whom; who is born where; and when a cgroup is empty, frozen, thawed.

use std::{fs, process::Command, sync::mpsc, thread};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::Daemon,
    events::Follower,
    process::{Born, Sleeper, TwoThreads, copy_program, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("membership::attach_tells_the_moved_and_the_mover", attach_tells_the_moved_and_the_mover),
        trial("membership::a_second_move_tells_where_from", a_second_move_tells_where_from),
        trial("membership::a_thread_is_moved_on_v2", a_thread_is_moved_on_v2),
        trial("membership::a_thread_is_moved_on_v1", a_thread_is_moved_on_v1),
        trial("membership::born_by_clone_into_cgroup", born_by_clone_into_cgroup),
        trial("membership::an_inherited_cgroup_is_no_event", an_inherited_cgroup_is_no_event),
        trial("membership::the_last_exit_makes_empty", the_last_exit_makes_empty),
        trial("membership::freeze_and_thaw", freeze_and_thaw),
        trial("membership::a_watched_name_is_told_at_exec", a_watched_name_is_told_at_exec),
    ]
}

fn attach_tells_the_moved_and_the_mover() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in crate::support::cgroup::both() {
        let cgroup = Cgroup::new(hierarchy, "attach")?;
        let sleeper = Sleeper::start()?;
        let mut follower = Follower::below(&daemon, &cgroup.name(), &["attach"])?;
        // Another process is the mover.
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

fn a_second_move_tells_where_from() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "from")?;
    let (a, b) = (cgroup.join("a"), cgroup.join("b"));
    fs::create_dir(&a)?;
    fs::create_dir(&b)?;
    let sleeper = Sleeper::start()?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["attach"])?;
    put(&a, "cgroup.procs", sleeper.pid())?;
    put(&b, "cgroup.procs", sleeper.pid())?;
    let (first, second) = (follower.next()?, follower.next()?);
    ensure!(first.from.is_none(), "where it was at first was not seen: {first:?}");
    ensure!(
        second.from.as_ref().and_then(|from| from.path.as_ref()) == Some(&cgroup.name_of(&a)),
        "{second:?}"
    );
    ensure!(second.path == Some(cgroup.name_of(&b)), "{second:?}");
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
        let (tell, tid) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs());
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
    // A threaded cgroup below a domain that holds the process.
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

/// KERNEL T9: neither an empty nor a populated cgroup has an attach event for it.
fn born_by_clone_into_cgroup() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("v2", "clone")?;
    let mut follower = Follower::below(&daemon, &cgroup.name(), &["fork", "attach"])?;
    let mut children = Vec::new();
    for _ in 0..2 {
        // The second child comes into a cgroup that has the first one: no populated event either.
        let child = Born::into_cgroup(cgroup.path())?;
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

fn the_last_exit_makes_empty() -> Outcome {
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
    // It is told in whatever task the kernel happens to run (KERNEL T11): nobody is named for it.
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

fn a_watched_name_is_told_at_exec() -> Outcome {
    let daemon = Daemon::start_with(&["--watch", "cgtrace-kubele"])?;
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
