//! Waiting returns the moment a state holds: nothing is polled, nothing is missed.

use std::{
    fs,
    process::{Child, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::{CgroupState, wire};
use libtest_mimic::Trial;
use rustix::event::epoll;
use serde_json::json;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::{Daemon, program},
    descriptors::many_descriptors,
    events::Follower,
    process::{Sleeper, put},
    raw::Raw,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("waiting::present_and_absent", present_and_absent),
        trial("waiting::populated_and_empty", populated_and_empty),
        trial("waiting::a_rename_brings_a_name_and_takes_it", rename),
        trial("waiting::what_holds_already_returns_at_once", at_once),
        trial("waiting::a_time_out_is_told", time_out),
        trial("waiting::many_waiters_are_each_woken_once", many),
        trial("waiting::10000_waiters_are_each_woken_once_and_none_is_lost", ten_thousand),
        trial("waiting::a_question_takes_nobody_s_wakeup", question_and_wakeup),
        trial("waiting::by_the_command_line", by_the_command_line),
    ]
}

/// Waits in a thread; the daemon knows of the wait when this returns.
fn waiting(
    daemon: &Daemon,
    name: &str,
    until: CgroupState,
) -> Result<mpsc::Receiver<Result<wire::WaitReply>>> {
    let before = daemon.client()?.status()?.waiters;
    let mut client = daemon.client()?;
    let name = name.to_owned();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let _ = tell.send(client.wait(&name, until, Some(Duration::from_mins(1))).map_err(Into::into));
    });
    registered(daemon, before + 1)?;
    Ok(told)
}

fn registered(daemon: &Daemon, count: u64) -> Outcome {
    let start = Instant::now();
    while daemon.client()?.status()?.waiters < count {
        // Ten thousand of them on a busy machine take a while.
        ensure!(start.elapsed() < Duration::from_mins(3), "a waiter was not registered");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn held(told: &mpsc::Receiver<Result<wire::WaitReply>>) -> Result<wire::WaitReply> {
    let awaited = told.recv_timeout(Duration::from_mins(1)).context("the waiter was not woken")??;
    ensure!(awaited.reached, "{awaited:?}");
    Ok(awaited)
}

fn present_and_absent() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in crate::support::cgroup::both() {
        let cgroup = Cgroup::new(hierarchy, "wait")?;
        let path = cgroup.join("x");
        let name = cgroup.name_of(&path);
        let told = waiting(&daemon, &name, CgroupState::Present)?;
        fs::create_dir(&path)?;
        let awaited = held(&told)?;
        ensure!(awaited.result.present, "{awaited:?}");
        let told = waiting(&daemon, &name, CgroupState::Absent)?;
        fs::remove_dir(&path)?;
        ensure!(!held(&told)?.result.present);
    }
    Ok(())
}

fn populated_and_empty() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in crate::support::cgroup::both() {
        let cgroup = Cgroup::new(hierarchy, "populated")?;
        let inner = cgroup.join("inner");
        fs::create_dir(&inner)?;
        let told = waiting(&daemon, &cgroup.name(), CgroupState::Populated)?;
        let sleeper = Sleeper::start()?;
        // In it or below it.
        put(&inner, "cgroup.procs", sleeper.pid())?;
        held(&told)?;
        let told = waiting(&daemon, &cgroup.name(), CgroupState::Empty)?;
        drop(sleeper);
        held(&told).with_context(|| format!("empty on {hierarchy}"))?;
    }
    Ok(())
}

fn rename() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("pids", "wait-rename")?;
    let (a, b) = (cgroup.join("a"), cgroup.join("b"));
    fs::create_dir_all(a.join("child"))?;
    let present = waiting(&daemon, &cgroup.name_of(&b.join("child")), CgroupState::Present)?;
    let absent = waiting(&daemon, &cgroup.name_of(&a.join("child")), CgroupState::Absent)?;
    fs::rename(&a, &b)?;
    held(&present)?;
    held(&absent)?;
    Ok(())
}

fn at_once() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "at-once")?;
    let name = cgroup.name();
    let mut client = daemon.client()?;
    for (name, until) in [
        (name.clone(), CgroupState::Present),
        (name.clone(), CgroupState::Empty),
        (format!("{name}/none"), CgroupState::Absent),
        (format!("{name}/none"), CgroupState::Empty),
        ("/".to_owned(), CgroupState::Populated),
    ] {
        // Even without any patience.
        let waited = client.wait(&name, until, Some(Duration::ZERO))?;
        ensure!(waited.reached, "{name} {until:?}: {waited:?}");
    }
    Ok(())
}

fn time_out() -> Outcome {
    let daemon = Daemon::start()?;
    let start = Instant::now();
    let waited = daemon.client()?.wait(
        "/cgtrace-test-never",
        CgroupState::Present,
        Some(Duration::from_millis(200)),
    )?;
    ensure!(!waited.reached && start.elapsed() >= Duration::from_millis(200), "{waited:?}");
    ensure!(daemon.client()?.status()?.waiters == 0, "the waiter is still registered");
    Ok(())
}

fn many() -> Outcome {
    const COUNT: u32 = 200;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "many")?;
    let (tell, told) = mpsc::channel();
    for number in 0..COUNT {
        let mut client = daemon.client()?;
        let name = cgroup.name_of(&cgroup.join(number.to_string()));
        let tell = tell.clone();
        thread::spawn(move || {
            let waited = client.wait(&name, CgroupState::Present, Some(Duration::from_mins(1)));
            let _ = tell.send((number, waited));
        });
    }
    registered(&daemon, u64::from(COUNT))?;
    for number in 0..COUNT {
        fs::create_dir(cgroup.join(number.to_string()))?;
    }
    let mut woken = std::collections::BTreeSet::new();
    for _ in 0..COUNT {
        let (number, waited) = told.recv_timeout(Duration::from_mins(1)).context("one was not woken")?;
        ensure!(waited?.reached && woken.insert(number), "{number}");
    }
    Ok(())
}

fn ten_thousand() -> Outcome {
    const COUNT: usize = 10_000;
    let _many = many_descriptors()?;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "ten-thousand")?;
    let paths: Vec<_> = (0..COUNT).map(|number| cgroup.join(number.to_string())).collect();
    let mut waiters = Vec::with_capacity(COUNT);
    for path in &paths {
        let mut waiter = Raw::new(daemon.stream()?);
        waiter.send(&json!({
            "method": "io.cgtrace.Wait",
            "parameters": {"path": cgroup.name_of(path), "state": "present", "hierarchy": any()},
        }))?;
        waiters.push(waiter);
    }
    registered(&daemon, COUNT as u64)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, waiter) in waiters.iter().enumerate() {
        epoll::add(&epoll, waiter.stream(), epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
    }
    let (made, woken) = thread::scope(|threads| -> Result<_> {
        let waking = threads.spawn(|| -> Result<Vec<Instant>> {
            let mut woken = vec![None; COUNT];
            let mut left = COUNT;
            let mut events = Vec::with_capacity(1_024);
            let patience = rustix::time::Timespec { tv_sec: 180, tv_nsec: 0 };
            while left > 0 {
                events.clear();
                let room = rustix::buffer::spare_capacity(&mut events);
                ensure!(epoll::wait(&epoll, room, Some(&patience))? > 0, "{left} were not woken");
                let now = Instant::now();
                for event in &events {
                    let number = usize::try_from(event.data.u64())?;
                    let waiter = waiters.get_mut(number).context("no such waiter")?;
                    let reply = waiter.receive()?;
                    let name = cgroup.name_of(&paths[number]);
                    ensure!(reply["parameters"]["reached"] == true, "{reply}");
                    ensure!(reply["parameters"]["result"]["path"] == *name, "not {name}: {reply}");
                    ensure!(reply.get("continues").is_none(), "another reply is to follow: {reply}");
                    ensure!(woken[number].replace(now).is_none(), "{name} was woken twice");
                    left -= 1;
                }
            }
            Ok(woken.into_iter().flatten().collect())
        });
        let mut made = Vec::with_capacity(COUNT);
        for path in &paths {
            fs::create_dir(path)?;
            made.push(Instant::now());
        }
        Ok((made, waking.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))??))
    })?;
    ensure!(woken.len() == COUNT);
    let mut late: Vec<Duration> =
        made.iter().zip(&woken).map(|(made, woken)| woken.saturating_duration_since(*made)).collect();
    late.sort();
    // Told, not judged: the machine may be busy with other tests.
    println!(
        "10,000 waiters: p50 {:?}, p99 {:?}, last {:?}",
        late[COUNT / 2],
        late[COUNT * 99 / 100],
        late[COUNT - 1]
    );
    // Nobody waits any more, and nobody is told anything further.
    ensure!(daemon.client()?.status()?.waiters == 0, "some still wait");
    let mut events = Vec::with_capacity(1);
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    ensure!(
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&now))? == 0,
        "a second reply came"
    );
    Ok(())
}

/// A question reads the rings for itself, the record by which the kernel program rings among the rest. Who follows is
/// told of the next event all the same, without another question.
fn question_and_wakeup() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "question")?;
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    let mut follower = Follower::below(&daemon, &name, &["mkdir", "rmdir"])?;
    for round in 0..100 {
        // Questions and events at once, so that some question comes between the bell and the driver's turn.
        let asking = AtomicBool::new(true);
        let last = thread::scope(|threads| -> Outcome {
            let observers: Vec<_> = (0..3)
                .map(|_| -> Result<_> {
                    let mut client = daemon.client()?;
                    let (asking, name) = (&asking, &name);
                    Ok(threads.spawn(move || -> Outcome {
                        while asking.load(Ordering::Relaxed) {
                            client.exists(name)?;
                        }
                        Ok(())
                    }))
                })
                .collect::<Result<_>>()?;
            for _ in 0..20 {
                fs::create_dir(&path)?;
                fs::remove_dir(&path)?;
                thread::sleep(Duration::from_micros(300));
            }
            asking.store(false, Ordering::Relaxed);
            for observer in observers {
                observer.join().map_err(|_| anyhow::anyhow!("an observer panicked"))??;
            }
            fs::create_dir(&path)?;
            fs::remove_dir(&path)?;
            Ok(())
        });
        last?;
        for number in 0..21 {
            for kind in ["mkdir", "rmdir"] {
                let event =
                    follower.next().with_context(|| format!("round {round}, pair {number}: no {kind}"))?;
                ensure!(event.kind == kind, "round {round}: {event:?}");
            }
        }
    }
    Ok(())
}

fn by_the_command_line() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "command")?;
    let path = cgroup.join("x");
    let name = cgroup.name_of(&path);
    let wait = |arguments: &[&str]| -> Result<Child> {
        let child = program()
            .arg("--socket")
            .arg(daemon.socket())
            .arg("wait")
            .arg(&name)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        registered(&daemon, 1)?;
        Ok(child)
    };
    let child = wait(&["--timeout", "20s", "--hierarchy", any()])?;
    fs::create_dir(&path)?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(0) && text.starts_with("present after "), "{text}");
    let child = wait(&["--until", "absent", "--timeout", "20s"])?;
    fs::remove_dir(&path)?;
    ensure!(child.wait_with_output()?.status.code() == Some(0));
    let child = wait(&["--timeout", "300ms"])?;
    let output = child.wait_with_output()?;
    ensure!(output.status.code() == Some(1) && output.stdout.is_empty(), "{output:?}");
    ensure!(String::from_utf8_lossy(&output.stderr).contains("timed out"), "{output:?}");
    Ok(())
}
