//! Wait returns as soon as the state is reached, without polling and without missing a change.

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
        trial("waiting::a_rename_creates_and_removes_paths", rename),
        trial("waiting::a_state_that_is_already_reached_returns_at_once", at_once),
        trial("waiting::a_timeout_is_reported", time_out),
        trial("waiting::many_waiters_are_each_woken_once", many),
        trial("waiting::10000_waiters_are_each_woken_once", ten_thousand),
        trial("waiting::a_lookup_does_not_delay_events", lookup_and_events),
        trial("waiting::by_the_command_line", by_the_command_line),
    ]
}

/// Waits in a thread; the wait is registered when this returns.
fn start_wait(
    daemon: &Daemon,
    path: &str,
    state: CgroupState,
) -> Result<mpsc::Receiver<Result<wire::WaitReply>>> {
    let before = daemon.client()?.status()?.waiters;
    let mut client = daemon.client()?;
    let path = path.to_owned();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(client.wait(&path, state, Some(Duration::from_mins(1))).map_err(Into::into));
    });
    wait_registered(daemon, before + 1)?;
    Ok(receiver)
}

fn wait_registered(daemon: &Daemon, count: u64) -> Outcome {
    let start = Instant::now();
    while daemon.client()?.status()?.waiters < count {
        // 10,000 of them take a while on a busy machine.
        ensure!(start.elapsed() < Duration::from_mins(3), "a waiter was not registered");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn receive_reached(replies: &mpsc::Receiver<Result<wire::WaitReply>>) -> Result<wire::WaitReply> {
    let reply = replies.recv_timeout(Duration::from_mins(1)).context("the waiter was not woken")??;
    ensure!(reply.reached, "{reply:?}");
    Ok(reply)
}

fn present_and_absent() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in crate::support::cgroup::both() {
        let cgroup = Cgroup::new(hierarchy, "wait")?;
        let path = cgroup.join("x");
        let cgroup_path = cgroup.name_of(&path);
        let replies = start_wait(&daemon, &cgroup_path, CgroupState::Present)?;
        fs::create_dir(&path)?;
        let reply = receive_reached(&replies)?;
        ensure!(reply.result.present, "{reply:?}");
        let replies = start_wait(&daemon, &cgroup_path, CgroupState::Absent)?;
        fs::remove_dir(&path)?;
        ensure!(!receive_reached(&replies)?.result.present);
    }
    Ok(())
}

fn populated_and_empty() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in crate::support::cgroup::both() {
        let cgroup = Cgroup::new(hierarchy, "populated")?;
        let inner = cgroup.join("inner");
        fs::create_dir(&inner)?;
        let replies = start_wait(&daemon, &cgroup.name(), CgroupState::Populated)?;
        let sleeper = Sleeper::start()?;
        // A process in a descendant counts, too.
        put(&inner, "cgroup.procs", sleeper.pid())?;
        receive_reached(&replies)?;
        let replies = start_wait(&daemon, &cgroup.name(), CgroupState::Empty)?;
        drop(sleeper);
        receive_reached(&replies).with_context(|| format!("empty on {hierarchy}"))?;
    }
    Ok(())
}

fn rename() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new("pids", "wait-rename")?;
    let (a, b) = (cgroup.join("a"), cgroup.join("b"));
    fs::create_dir_all(a.join("child"))?;
    let present = start_wait(&daemon, &cgroup.name_of(&b.join("child")), CgroupState::Present)?;
    let absent = start_wait(&daemon, &cgroup.name_of(&a.join("child")), CgroupState::Absent)?;
    fs::rename(&a, &b)?;
    receive_reached(&present)?;
    receive_reached(&absent)?;
    Ok(())
}

fn at_once() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "at-once")?;
    let path = cgroup.name();
    let mut client = daemon.client()?;
    for (path, state) in [
        (path.clone(), CgroupState::Present),
        (path.clone(), CgroupState::Empty),
        (format!("{path}/none"), CgroupState::Absent),
        (format!("{path}/none"), CgroupState::Empty),
        ("/".to_owned(), CgroupState::Populated),
    ] {
        // Even with a timeout of 0.
        let reply = client.wait(&path, state, Some(Duration::ZERO))?;
        ensure!(reply.reached, "{path} {state:?}: {reply:?}");
    }
    Ok(())
}

fn time_out() -> Outcome {
    let daemon = Daemon::start()?;
    let start = Instant::now();
    let reply = daemon.client()?.wait(
        "/cgtrace-test-never",
        CgroupState::Present,
        Some(Duration::from_millis(200)),
    )?;
    ensure!(!reply.reached && start.elapsed() >= Duration::from_millis(200), "{reply:?}");
    ensure!(daemon.client()?.status()?.waiters == 0, "the waiter is still registered");
    Ok(())
}

fn many() -> Outcome {
    const COUNT: u32 = 200;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "many")?;
    let (sender, receiver) = mpsc::channel();
    for number in 0..COUNT {
        let mut client = daemon.client()?;
        let path = cgroup.name_of(&cgroup.join(number.to_string()));
        let sender = sender.clone();
        thread::spawn(move || {
            let reply = client.wait(&path, CgroupState::Present, Some(Duration::from_mins(1)));
            let _ = sender.send((number, reply));
        });
    }
    wait_registered(&daemon, u64::from(COUNT))?;
    for number in 0..COUNT {
        fs::create_dir(cgroup.join(number.to_string()))?;
    }
    let mut woken = std::collections::BTreeSet::new();
    for _ in 0..COUNT {
        let (number, reply) =
            receiver.recv_timeout(Duration::from_mins(1)).context("a waiter was not woken")?;
        ensure!(reply?.reached && woken.insert(number), "{number}");
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
    wait_registered(&daemon, COUNT as u64)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (number, waiter) in waiters.iter().enumerate() {
        epoll::add(&epoll, waiter.stream(), epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
    }
    let (created, woken) = thread::scope(|threads| -> Result<_> {
        let waking = threads.spawn(|| -> Result<Vec<Instant>> {
            let mut woken = vec![None; COUNT];
            let mut left = COUNT;
            let mut events = Vec::with_capacity(1_024);
            let timeout = rustix::time::Timespec { tv_sec: 180, tv_nsec: 0 };
            while left > 0 {
                events.clear();
                let room = rustix::buffer::spare_capacity(&mut events);
                ensure!(epoll::wait(&epoll, room, Some(&timeout))? > 0, "{left} were not woken");
                let now = Instant::now();
                for event in &events {
                    let number = usize::try_from(event.data.u64())?;
                    let waiter = waiters.get_mut(number).context("no such waiter")?;
                    let reply = waiter.receive()?;
                    let path = cgroup.name_of(&paths[number]);
                    ensure!(reply["parameters"]["reached"] == true, "{reply}");
                    ensure!(reply["parameters"]["result"]["path"] == *path, "not {path}: {reply}");
                    ensure!(reply.get("continues").is_none(), "another reply follows: {reply}");
                    ensure!(woken[number].replace(now).is_none(), "{path} was woken twice");
                    left -= 1;
                }
            }
            Ok(woken.into_iter().flatten().collect())
        });
        let mut created = Vec::with_capacity(COUNT);
        for path in &paths {
            fs::create_dir(path)?;
            created.push(Instant::now());
        }
        Ok((created, waking.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))??))
    })?;
    ensure!(woken.len() == COUNT);
    let mut latencies: Vec<Duration> = created
        .iter()
        .zip(&woken)
        .map(|(created, woken)| woken.saturating_duration_since(*created))
        .collect();
    latencies.sort();
    // Printed, not checked: the machine may be busy with other tests.
    println!(
        "10,000 waiters: p50 {:?}, p99 {:?}, last {:?}",
        latencies[COUNT / 2],
        latencies[COUNT * 99 / 100],
        latencies[COUNT - 1]
    );
    // No waiter is left, and no second reply arrives.
    ensure!(daemon.client()?.status()?.waiters == 0, "some waiters are left");
    let mut events = Vec::with_capacity(1);
    let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    ensure!(
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&now))? == 0,
        "a second reply arrived"
    );
    Ok(())
}

/// A lookup drains the rings itself, including the record that wakes the daemon. A subscriber must still
/// receive the next event without another lookup.
fn lookup_and_events() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "lookup")?;
    let path = cgroup.join("x");
    let cgroup_path = cgroup.name_of(&path);
    let mut follower = Follower::below(&daemon, &cgroup_path, &["mkdir", "rmdir"])?;
    for round in 0..100 {
        // Lookups and events at once, so that some lookup comes between the wakeup and the daemon's drain.
        let looking_up = AtomicBool::new(true);
        let last = thread::scope(|threads| -> Outcome {
            let clients: Vec<_> = (0..3)
                .map(|_| -> Result<_> {
                    let mut client = daemon.client()?;
                    let (looking_up, cgroup_path) = (&looking_up, &cgroup_path);
                    Ok(threads.spawn(move || -> Outcome {
                        while looking_up.load(Ordering::Relaxed) {
                            client.exists(cgroup_path)?;
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
            looking_up.store(false, Ordering::Relaxed);
            for client in clients {
                client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
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
    let cgroup_path = cgroup.name_of(&path);
    let wait = |arguments: &[&str]| -> Result<Child> {
        let child = program()
            .arg("--socket")
            .arg(daemon.socket())
            .arg("wait")
            .arg(&cgroup_path)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        wait_registered(&daemon, 1)?;
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
