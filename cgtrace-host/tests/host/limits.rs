//! Budgets, and limits on open files.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use cgtrace_host::{
    descriptors::next_step,
    hierarchy::{Budget, Stopped},
};

#[test]
fn a_budget_ends_with_its_steps_or_when_cancelled() {
    let cancelled = Arc::default();
    let mut budget = Budget::new(2, Arc::clone(&cancelled));
    assert_eq!([budget.step(), budget.step(), budget.step()], [Ok(()), Ok(()), Err(Stopped::OutOfSteps)]);
    cancelled.store(true, Ordering::Relaxed);
    assert_eq!(budget.step(), Err(Stopped::Cancelled));
}

#[test]
fn the_limit_on_files_is_suggested_only_if_reached() {
    let step = |code| next_step(&io::Error::from_raw_os_error(code), "run as root");
    assert!(step(libc::EMFILE).contains("LimitNOFILE="));
    assert!(step(libc::ENFILE).contains("fs.file-max"));
    assert_eq!(step(libc::EACCES), "run as root");
}
