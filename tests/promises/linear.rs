//! Linearizability: if several threads change cgroups while several clients look them up, there is an order
//! of all operations in which every reply is right.
//!
//! The state of a path is a register: present or absent. Only one thread changes each path, so its changes
//! are ordered. A reply is right if the path was in that state at some time between call and reply: after the
//! last change that had returned before the call, or after any change that had begun before the reply. That
//! condition is sufficient, because the paths are independent (a history is linearizable if the history of
//! each register is).

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc, Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use cgtrace_client::{CgroupState, Client, wire};
use libtest_mimic::Trial;

use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("linear::replies_are_linearizable", history_is_linearizable),
        trial("linear::the_checker_detects_a_stale_reply", checker_detects_a_stale_reply),
    ]
}

const PATHS: usize = 8;
const CHANGES: u64 = 30_000;
const CLIENTS: usize = 3;
/// The minimum number of replies. If the writers starve the clients, they continue until it is reached.
const MIN_REPLIES: u64 = 8_000;

/// A change of a path's state, in ticks of a shared clock.
#[derive(Clone, Copy, Debug)]
struct Changed {
    begun: u64,
    done: u64,
    present: bool,
}

/// A reply about a path.
#[derive(Clone, Copy, Debug)]
struct Reply {
    called: u64,
    received: u64,
    path: usize,
    present: bool,
}

/// Whether the path was in the reported state at some time between call and reply.
fn is_right(changes: &[Changed], reply: &Reply) -> bool {
    // The state was that of the last change that was done before the call, or of a later one.
    let first = changes.partition_point(|change| change.done < reply.called);
    let before = first.checked_sub(1).is_some_and(|last| changes[last].present);
    if before == reply.present {
        return true;
    }
    changes[first..]
        .iter()
        .take_while(|change| change.begun < reply.received)
        .any(|change| change.present == reply.present)
}

struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// A pseudo-random generator, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Creates, removes and (on v1) renames the two paths of a thread; a rename moves one to the other.
fn change(
    paths: &[PathBuf; 2],
    rename: bool,
    clock: &Clock,
    reply_count: &AtomicU64,
    seed: u64,
) -> Result<[Vec<Changed>; 2]> {
    let mut random = Random(seed);
    let mut present = [false; 2];
    let mut changes = [Vec::new(), Vec::new()];
    for number in 0.. {
        if number >= CHANGES && reply_count.load(Ordering::SeqCst) >= MIN_REPLIES {
            break;
        }
        if number % 8 == 0 {
            // Lets the clients run on a machine with few CPUs.
            thread::sleep(Duration::from_micros(50));
        }
        let which = usize::from(random.below(2) == 1);
        let other = 1 - which;
        let begun = clock.tick();
        let changed: &[usize] = if rename && present[which] && !present[other] && random.below(2) == 1 {
            fs::rename(&paths[which], &paths[other])?;
            present.swap(which, other);
            &[0, 1]
        } else if present[which] {
            fs::remove_dir(&paths[which])?;
            present[which] = false;
            &[which]
        } else {
            fs::create_dir(&paths[which])?;
            present[which] = true;
            &[which]
        };
        let done = clock.tick();
        for path in changed {
            changes[*path].push(Changed { begun, done, present: present[*path] });
        }
    }
    Ok(changes)
}

fn look_up(
    mut client: Client,
    paths: &[(String, &str)],
    clock: &Clock,
    writing: &AtomicU64,
    reply_count: &AtomicU64,
    seed: u64,
) -> Result<Vec<Reply>> {
    let mut random = Random(seed);
    let mut replies: Vec<Reply> = Vec::new();
    while writing.load(Ordering::SeqCst) > 0 {
        let before = replies.len();
        let path = usize::try_from(random.below(paths.len() as u64))?;
        let (cgroup_path, hierarchy) = &paths[path];
        let hierarchy = Some((*hierarchy).to_owned());
        let waits = random.below(16) == 0;
        let called = clock.tick();
        if waits {
            // A wait that reached the state proves that the path was in it; one that timed out proves
            // nothing.
            let state = if random.below(2) == 0 { CgroupState::Present } else { CgroupState::Absent };
            let wait = wire::Wait { path: cgroup_path.clone(), state, hierarchy, timeout_ms: Some(5) };
            if client.wait_with(&wait)?.reached {
                let present = matches!(state, CgroupState::Present);
                replies.push(Reply { called, received: clock.tick(), path, present });
            }
        } else {
            // One with previous instances also waits for the history to store every change so far.
            let lookup = wire::Lookup {
                paths: vec![cgroup_path.clone()],
                hierarchy,
                previous: Some(random.below(64) == 0),
                ..wire::Lookup::default()
            };
            let present = client.lookup_with(&lookup)?.results.iter().any(|result| result.present);
            replies.push(Reply { called, received: clock.tick(), path, present });
        }
        reply_count.fetch_add((replies.len() - before) as u64, Ordering::SeqCst);
    }
    Ok(replies)
}

fn history_is_linearizable() -> Outcome {
    let daemon = Daemon::start()?;
    let scopes = [("v2", Cgroup::new("v2", "linear")?), ("pids", Cgroup::new("pids", "linear")?)];
    let clock = Arc::new(Clock(AtomicU64::new(0)));
    let writing = Arc::new(AtomicU64::new((PATHS / 2) as u64));
    let reply_count = Arc::new(AtomicU64::new(0));
    let mut all_paths = Vec::new();
    let mut writers = Vec::new();
    let start = Arc::new(Barrier::new(PATHS / 2 + CLIENTS));
    for pair in 0..PATHS / 2 {
        let (hierarchy, scope) = &scopes[pair % scopes.len()];
        let paths = [0, 1].map(|number| scope.join(format!("{pair}-{number}")));
        all_paths.extend(paths.iter().map(|path| (scope.name_of(path), *hierarchy)));
        let (clock, writing, reply_count, start) =
            (Arc::clone(&clock), Arc::clone(&writing), Arc::clone(&reply_count), Arc::clone(&start));
        let rename = *hierarchy != "v2";
        writers.push(thread::spawn(move || {
            start.wait();
            let changes = change(&paths, rename, &clock, &reply_count, pair as u64 + 1);
            writing.fetch_sub(1, Ordering::SeqCst);
            changes
        }));
    }
    let all_paths = Arc::new(all_paths);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let client = daemon.client()?;
        let (clock, writing, reply_count, start) =
            (Arc::clone(&clock), Arc::clone(&writing), Arc::clone(&reply_count), Arc::clone(&start));
        let all_paths = Arc::clone(&all_paths);
        clients.push(thread::spawn(move || {
            start.wait();
            let replies = look_up(client, &all_paths, &clock, &writing, &reply_count, number as u64 + 100);
            // A client that failed sends no more replies; the writers must not wait for them.
            reply_count.fetch_add(MIN_REPLIES, Ordering::SeqCst);
            replies
        }));
    }
    let mut changes: Vec<Vec<Changed>> = Vec::new();
    for writer in writers {
        changes.extend(writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??);
    }
    let mut replies = Vec::new();
    for client in clients {
        replies.extend(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
    }
    let operations = changes.iter().map(Vec::len).sum::<usize>() + replies.len();
    for reply in &replies {
        ensure!(
            is_right(&changes[reply.path], reply),
            "{} was never in that state between call and reply: {reply:?}",
            all_paths[reply.path].0
        );
    }
    ensure!(operations >= 100_000, "only {operations} operations");
    // The test needs replies of both kinds.
    let present = replies.iter().filter(|reply| reply.present).count();
    ensure!(
        present > 1_000 && replies.len() - present > 1_000,
        "{present} of {} replies report present",
        replies.len()
    );
    println!("linear: {operations} operations, {} replies", replies.len());
    daemon.verify()
}

/// The check itself must be able to fail.
fn checker_detects_a_stale_reply() -> Outcome {
    let changes = [
        Changed { begun: 1, done: 2, present: true },
        Changed { begun: 5, done: 8, present: false },
        Changed { begun: 10, done: 12, present: true },
    ];
    let right = |called, received, present| is_right(&changes, &Reply { called, received, path: 0, present });
    ensure!(right(3, 4, true) && !right(3, 4, false), "between two changes");
    ensure!(right(6, 7, true) && right(6, 7, false), "during a change");
    ensure!(right(9, 10, false) && !right(9, 10, true), "right after a removal");
    ensure!(right(4, 20, false), "a state between call and reply");
    ensure!(!right(13, 14, false), "after the last change");
    Ok(())
}
