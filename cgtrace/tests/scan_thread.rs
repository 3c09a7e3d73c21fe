//! The scan thread: priorities, cancellation and panics.
#![expect(clippy::unwrap_used, reason = "test helpers fail as tests do")]

use std::sync::{Arc, Mutex, mpsc};

use cgtrace::daemon::tracker::{Priority, ScanThread, ScanThreadEnded};
use cgtrace_host::hierarchy::Budget;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn resyncs_run_before_jobs_of_clients() {
    let scans = ScanThread::start().unwrap();
    let (started, go) = (mpsc::channel(), mpsc::channel());
    let order = Arc::<Mutex<Vec<&str>>>::default();
    let note = |what: &'static str| {
        let order = Arc::clone(&order);
        move |_: &mut Budget| order.lock().unwrap().push(what)
    };
    block_on(async {
        let busy = scans.run(Priority::Client, 1, move |_| {
            started.0.send(()).unwrap();
            go.1.recv().unwrap();
        });
        let client = scans.run(Priority::Client, 1, note("client"));
        let resync = scans.run(Priority::Resync, 1, note("resync"));
        let release = async {
            started.1.recv().unwrap();
            go.0.send(()).unwrap();
        };
        // Polled in this order; `release` ends `busy`.
        let (busy, client, resync, ()) = tokio::join!(biased; busy, client, resync, release);
        assert_eq!((busy, client, resync), (Ok(()), Ok(()), Ok(())));
    });
    assert_eq!(*order.lock().unwrap(), ["resync", "client"]);
}

#[test]
fn a_dropped_job_is_cancelled() {
    let scans = ScanThread::start().unwrap();
    let ((started, has_started), (ended, has_ended)) = (mpsc::channel(), mpsc::channel());
    block_on(async {
        let endless = scans.run(Priority::Client, u64::MAX, move |budget| {
            started.send(()).unwrap();
            while budget.step().is_ok() {}
            ended.send(()).unwrap();
        });
        tokio::select! {
            biased;
            _ = endless => panic!("it ended by itself"),
            () = async { has_started.recv().unwrap() } => {}
        }
        has_ended.recv().unwrap();
        assert_eq!(scans.run(Priority::Client, 1, |budget| budget.step().is_ok()).await, Ok(true));
    });
}

#[test]
fn a_panic_is_reported_and_ends_the_thread() {
    let scans = ScanThread::start().unwrap();
    block_on(async {
        let job = scans.run(Priority::Resync, 1, |_| -> () { panic!("no such slot") });
        assert_eq!(job.await, Err(ScanThreadEnded));
        assert_eq!(scans.panicked().await, "no such slot");
        assert_eq!(scans.run(Priority::Client, 1, |_| ()).await, Err(ScanThreadEnded));
    });
}
