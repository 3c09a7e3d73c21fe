//! `Wait`: returns as soon as a path is in a state.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use cgtrace_client::{CgroupState, paths, wire};
use serde::Deserialize;

use super::lookup;
use crate::daemon::{
    index::{HierarchyId, UNIFIED},
    server::{
        class::SocketClass,
        events::{Waiter, WaiterRegistration},
        failure::{CallError, ErrorReply},
        shared::Shared,
        transport::{Connection, Request},
    },
    tracker::Priority,
};
use cgtrace_host::hierarchy::{self, Budget, Mount, ScanError};

/// Maximum number of descendants to read to find out whether a v1 cgroup is populated; on v2 the kernel
/// reports it.
const MAX_STEPS: u64 = 100_000;

/// How the wait ended.
enum WaitOutcome {
    /// The state was reached, by the change with this sequence number.
    Reached(u64),
    TimedOut,
    Disconnected,
}

pub async fn answer(connection: &mut Connection, request: &Request) -> Result<(), CallError> {
    let began = Instant::now();
    let shared = Rc::clone(&connection.shared);
    let wait = parameters(request)?;
    let timeout = wait.timeout_ms.map(Duration::from_millis);
    settled_within(connection, timeout).await?;
    let waiter = waiter(&shared, &wait)?;
    // No other task runs between catching up and this: earlier changes are in the index, later ones reach the
    // waiter.
    let registered = WaiterRegistration::new(&shared.hub.waiters, &waiter);
    shared.listeners_changed();
    let ended = wait_for(connection, &shared, &waiter, || {
        timeout.map(|timeout| timeout.saturating_sub(began.elapsed()))
    });
    let ended = ended.await;
    drop(registered);
    shared.listeners_changed();
    let reached = match ended? {
        WaitOutcome::Reached(seq) => Some(seq),
        // A state that is reached at the same time as the timeout still counts.
        WaitOutcome::TimedOut => waiter.reached(),
        WaitOutcome::Disconnected => return Ok(()),
    };
    connection.settled_for_woken().await?;
    let reply = {
        let tracker = shared.tracker.borrow();
        let encoder = shared.encoder(connection.class);
        wire::WaitReply {
            reached: reached.is_some(),
            seq: reached.unwrap_or(tracker.index().seq()),
            elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            result: lookup::by_path(tracker.index(), encoder, &waiter.path, waiter.hierarchy),
        }
    };
    connection.reply(request, &reply).await
}

/// The parameters. An unknown state is an error of the interface rather than an invalid parameter.
fn parameters(request: &Request) -> Result<wire::Wait, ErrorReply> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct State {
        state: String,
    }

    if let Ok(State { state }) = request.parameters()
        && state.parse::<CgroupState>().is_err()
    {
        return Err(ErrorReply::invalid_state(&state, &CgroupState::ALL.map(CgroupState::as_str)));
    }
    request.parameters()
}

async fn wait_for(
    connection: &mut Connection,
    shared: &Shared,
    waiter: &Waiter,
    remaining: impl Fn() -> Option<Duration>,
) -> Result<WaitOutcome, ErrorReply> {
    let class = connection.class;
    if waiter.holds(shared.tracker.borrow().index()) {
        return Ok(WaitOutcome::Reached(shared.tracker.borrow().index().seq()));
    }
    connection.end_turn();
    // If the path is already in the state, the reply is the same whatever the timeout, even 0.
    if matches!(waiter.state, CgroupState::Populated | CgroupState::Empty) {
        let holds = tokio::select! {
            holds = read_populated(shared, class, waiter) => holds?,
            () = connection.disconnected() => return Ok(WaitOutcome::Disconnected),
        };
        if holds {
            return Ok(WaitOutcome::Reached(shared.tracker.borrow().index().seq()));
        }
    }
    let reached = async {
        loop {
            if let Some(seq) = waiter.reached() {
                return Ok(WaitOutcome::Reached(seq));
            }
            if waiter.take_must_read() && read_populated(shared, class, waiter).await? {
                return Ok(WaitOutcome::Reached(shared.tracker.borrow().index().seq()));
            }
            if waiter.reached().is_none() {
                waiter.woken().await;
            }
        }
    };
    tokio::select! {
        reached = reached => reached,
        () = sleep(remaining()) => Ok(WaitOutcome::TimedOut),
        () = connection.disconnected() => Ok(WaitOutcome::Disconnected),
    }
}

/// Waits for the index, but no longer than for the state. Without a kernel program, the index is the scan that
/// answers this call, for which any timeout is long enough.
async fn settled_within(connection: &mut Connection, timeout: Option<Duration>) -> Result<(), ErrorReply> {
    let is_scan = connection.shared.tracker.borrow().probe().is_none();
    let Some(timeout) = timeout.filter(|_| !is_scan) else { return connection.settled().await };
    // A timeout of 0 still gets a reply from the current index.
    let settled = tokio::time::timeout(timeout.max(Duration::from_millis(1)), connection.settled());
    settled.await.unwrap_or_else(|_| Err(ErrorReply::not_ready()))
}

fn waiter(shared: &Shared, wait: &wire::Wait) -> Result<Rc<Waiter>, ErrorReply> {
    let hierarchy = shared.hierarchy(wait.hierarchy.as_deref())?;
    Ok(Waiter::new(paths::from_wire(&wait.path)?, hierarchy, wait.state))
}

/// Whether the path is in the state according to the file system. Changes after the waiter was registered
/// wake it, so that none is missed between two reads.
async fn read_populated(shared: &Shared, class: SocketClass, waiter: &Waiter) -> Result<bool, ErrorReply> {
    let mounts: Vec<(HierarchyId, Mount)> = {
        let tracker = shared.tracker.borrow();
        let index = tracker.index();
        index
            .hierarchies()
            .filter(|state| waiter.hierarchy.is_none_or(|selected| selected == state.id))
            .filter(|state| index.resolve(state.id, &waiter.path).is_some())
            .filter_map(|state| Some((state.id, tracker.view(state.id).mount?)))
            .collect()
    };
    // If the cgroup is absent or its hierarchy not mounted here, only events report the state.
    let mut populated = Vec::with_capacity(mounts.len());
    let unreadable = |error: ScanError| ErrorReply::unavailable(&error.to_string());
    for (hierarchy, mount) in mounts {
        let path = waiter.path.clone();
        populated.push(if hierarchy == UNIFIED && path != b"/" {
            // One small file: reading it is faster than using another thread.
            hierarchy::read_populated(&mount, &path, &mut Budget::new(0, Arc::default()))
                .map_err(unreadable)?
        } else {
            let _one = shared.socket(class).scan.acquire().await;
            let read = move |budget: &mut Budget| hierarchy::read_populated(&mount, &path, budget);
            let read = shared.scans.run(Priority::Client, MAX_STEPS, read).await;
            read.map_err(|error| ErrorReply::unavailable(&error.to_string()))?.map_err(unreadable)?
        });
    }
    Ok(match waiter.state {
        CgroupState::Populated => populated.contains(&Some(true)),
        _ => !populated.is_empty() && populated.iter().all(|populated| *populated == Some(false)),
    })
}

async fn sleep(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
