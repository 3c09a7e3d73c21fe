//! Linearizability: whatever several threads do to cgroups while several clients ask, the recorded history has an
//! order of all operations in which every answer is right.
//!
//! A name's state is a register: present or absent. Each name is changed by one thread only, so its changes are
//! ordered by themselves, and an answer is right if it is the state that held at some moment between the question
//! and the answer: after the last change that had returned before the question, or after any that had begun before
//! the answer. That is the whole condition, because names do not depend on each other here (and a register's history
//! is linearizable if each register's is).

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
        trial("linear::no_answer_contradicts_the_order_of_operations", history_is_linearizable),
        trial("linear::the_checker_finds_a_stale_answer", the_checker_finds_a_stale_answer),
    ]
}

const NAMES: usize = 8;
const CHANGES: u64 = 30_000;
const CLIENTS: usize = 3;
/// Fewer answers test little. Where the writers leave the CPUs to nobody else, they go on until so many were given.
const ANSWERS: u64 = 8_000;

/// One change of a name's state, by a clock that all threads share.
#[derive(Clone, Copy, Debug)]
struct Changed {
    begun: u64,
    done: u64,
    present: bool,
}

/// One answer about a name.
#[derive(Clone, Copy, Debug)]
struct Answered {
    asked: u64,
    answered: u64,
    name: usize,
    present: bool,
}

/// Says whether some state between question and answer was the one that was told.
fn is_right(changes: &[Changed], answer: &Answered) -> bool {
    // The last change that was done before the question: its outcome, or a later one's, was the state.
    let first = changes.partition_point(|change| change.done < answer.asked);
    let before = first.checked_sub(1).is_some_and(|last| changes[last].present);
    if before == answer.present {
        return true;
    }
    changes[first..]
        .iter()
        .take_while(|change| change.begun < answer.answered)
        .any(|change| change.present == answer.present)
}

struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// Random enough, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Makes, removes and (on v1) renames the names of one thread: `a` and `b` are each other's names then.
fn change(
    paths: &[PathBuf; 2],
    rename: bool,
    clock: &Clock,
    given: &AtomicU64,
    seed: u64,
) -> Result<[Vec<Changed>; 2]> {
    let mut random = Random(seed);
    let mut present = [false; 2];
    let mut changes = [Vec::new(), Vec::new()];
    for number in 0.. {
        if number >= CHANGES && given.load(Ordering::SeqCst) >= ANSWERS {
            break;
        }
        if number % 8 == 0 {
            // Those who ask get a turn on a machine with few CPUs.
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
        for name in changed {
            changes[*name].push(Changed { begun, done, present: present[*name] });
        }
    }
    Ok(changes)
}

fn ask(
    mut client: Client,
    names: &[(String, &str)],
    clock: &Clock,
    writing: &AtomicU64,
    given: &AtomicU64,
    seed: u64,
) -> Result<Vec<Answered>> {
    let mut random = Random(seed);
    let mut answers: Vec<Answered> = Vec::new();
    while writing.load(Ordering::SeqCst) > 0 {
        let before = answers.len();
        let name = usize::try_from(random.below(names.len() as u64))?;
        let (path, hierarchy) = &names[name];
        let hierarchy = Some((*hierarchy).to_owned());
        let waits = random.below(16) == 0;
        let asked = clock.tick();
        if waits {
            // A wait that held says that the state was reached; one that did not says nothing of one moment.
            let until = if random.below(2) == 0 { CgroupState::Present } else { CgroupState::Absent };
            let wait = wire::Wait { path: path.clone(), state: until, hierarchy, timeout_ms: Some(5) };
            let waited = client.wait_with(&wait)?;
            if waited.reached {
                let present = matches!(until, CgroupState::Present);
                answers.push(Answered { asked, answered: clock.tick(), name, present });
            }
        } else {
            let lookup = wire::Lookup { paths: vec![path.clone()], hierarchy, ..wire::Lookup::default() };
            let present = client.lookup_with(&lookup)?.results.iter().any(|answer| answer.present);
            answers.push(Answered { asked, answered: clock.tick(), name, present });
        }
        given.fetch_add((answers.len() - before) as u64, Ordering::SeqCst);
    }
    Ok(answers)
}

fn history_is_linearizable() -> Outcome {
    let daemon = Daemon::start()?;
    let scopes = [("v2", Cgroup::new("v2", "linear")?), ("pids", Cgroup::new("pids", "linear")?)];
    let clock = Arc::new(Clock(AtomicU64::new(0)));
    let writing = Arc::new(AtomicU64::new((NAMES / 2) as u64));
    let given = Arc::new(AtomicU64::new(0));
    let mut names = Vec::new();
    let mut writers = Vec::new();
    let start = Arc::new(Barrier::new(NAMES / 2 + CLIENTS));
    for pair in 0..NAMES / 2 {
        let (hierarchy, scope) = &scopes[pair % scopes.len()];
        let paths = [0, 1].map(|number| scope.join(format!("{pair}-{number}")));
        names.extend(paths.iter().map(|path| (scope.name_of(path), *hierarchy)));
        let (clock, writing, given, start) =
            (Arc::clone(&clock), Arc::clone(&writing), Arc::clone(&given), Arc::clone(&start));
        let rename = *hierarchy != "v2";
        writers.push(thread::spawn(move || {
            start.wait();
            let changes = change(&paths, rename, &clock, &given, pair as u64 + 1);
            writing.fetch_sub(1, Ordering::SeqCst);
            changes
        }));
    }
    let names = Arc::new(names);
    let mut observers = Vec::new();
    for number in 0..CLIENTS {
        let client = daemon.client()?;
        let (clock, writing, given, start) =
            (Arc::clone(&clock), Arc::clone(&writing), Arc::clone(&given), Arc::clone(&start));
        let names = Arc::clone(&names);
        observers.push(thread::spawn(move || {
            start.wait();
            let answers = ask(client, &names, &clock, &writing, &given, number as u64 + 100);
            // Who failed gives no more of them: nobody is to wait for those.
            given.fetch_add(ANSWERS, Ordering::SeqCst);
            answers
        }));
    }
    let mut changes: Vec<Vec<Changed>> = Vec::new();
    for writer in writers {
        changes.extend(writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??);
    }
    let mut answers = Vec::new();
    for observer in observers {
        answers.extend(observer.join().map_err(|_| anyhow::anyhow!("an observer panicked"))??);
    }
    let operations = changes.iter().map(Vec::len).sum::<usize>() + answers.len();
    for answer in &answers {
        ensure!(
            is_right(&changes[answer.name], answer),
            "{} was never so between question and answer: {answer:?}",
            names[answer.name].0
        );
    }
    ensure!(operations >= 100_000, "only {operations} operations");
    // Answers of both kinds, or little was tested.
    let present = answers.iter().filter(|answer| answer.present).count();
    ensure!(
        present > 1_000 && answers.len() - present > 1_000,
        "{present} of {} answers say present",
        answers.len()
    );
    println!("linear: {operations} operations, {} answers", answers.len());
    daemon.verify()
}

/// A check that cannot fail is none.
fn the_checker_finds_a_stale_answer() -> Outcome {
    let changes = [
        Changed { begun: 1, done: 2, present: true },
        Changed { begun: 5, done: 8, present: false },
        Changed { begun: 10, done: 12, present: true },
    ];
    let answer =
        |asked, answered, present| is_right(&changes, &Answered { asked, answered, name: 0, present });
    ensure!(answer(3, 4, true) && !answer(3, 4, false), "between two changes");
    ensure!(answer(6, 7, true) && answer(6, 7, false), "during one");
    ensure!(answer(9, 10, false) && !answer(9, 10, true), "right after a removal");
    ensure!(answer(4, 20, false), "one that passed meanwhile");
    ensure!(!answer(13, 14, false), "after the last");
    Ok(())
}
