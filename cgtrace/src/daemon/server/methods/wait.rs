//! `Await`: returns the moment a name is in a state.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use cgtrace_client::{Until, names, wire};

use super::{
    super::{
        connection::{Connection, Request},
        failure::Failure,
        shared::Shared,
        waiters::{Registered, Waiter},
    },
    lookup,
};
use crate::daemon::tracker::Priority;
use cgtrace_host::hierarchy::{self, Mount};

pub async fn answer(connection: &mut Connection, request: &Request) -> io::Result<Result<(), Failure>> {
    let began = Instant::now();
    let shared = Rc::clone(&connection.shared);
    let wait: wire::Await = match connection.parameters(request, |_| Ok(())).await {
        Ok(wait) => wait,
        Err(failure) => return Ok(Err(failure)),
    };
    let timeout = wait.timeout_ms.map(Duration::from_millis);
    if let Err(failure) = settled_within(&shared, timeout).await {
        return Ok(Err(failure));
    }
    let waiter = match waiter(&shared, &wait) {
        Ok(waiter) => waiter,
        Err(failure) => return Ok(Err(failure)),
    };
    // Nothing runs between the catching up in `settled` and this: what was before is in the index, what comes
    // after finds the waiter.
    let registered = Registered::new(&shared.hub.waiters, &waiter);
    shared.listening_changed();
    // What holds already is told whatever the time-out, even none at all.
    let now = tokio::select! {
        now = held_already(&shared, &waiter) => Some(now),
        () = connection.left() => None,
    };
    let held = match now {
        Some(None) => {
            let left = timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
            tokio::select! {
                held = held_later(&shared, &waiter) => Some(Some(held)),
                () = elapsed(left) => Some(None),
                () = connection.left() => None,
            }
        }
        now => now,
    };
    drop(registered);
    shared.listening_changed();
    let Some(held) = held else { return Ok(Ok(())) };
    if let Err(failure) = shared.settled_for_woken().await {
        return Ok(Err(failure));
    }
    let awaited = {
        let encoder = shared.encoder(connection.access);
        let tracker = shared.tracker.borrow();
        // A state that was reached in the very moment of the time-out still counts.
        let held = held.or(waiter.held());
        wire::Awaited {
            held: held.is_some(),
            seq: held.unwrap_or(tracker.index().seq()),
            waited_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            answer: lookup::by_name(tracker.index(), encoder, &waiter.name, waiter.hierarchy),
        }
    };
    connection.reply(request, &awaited).await?;
    Ok(Ok(()))
}

/// The index may still be made, or be healed; nobody waits longer for that than for the state itself.
async fn settled_within(shared: &Shared, timeout: Option<Duration>) -> Result<(), Failure> {
    let Some(timeout) = timeout else { return shared.settled().await };
    // Even without any time left, what is known now is an answer.
    tokio::time::timeout(timeout.max(Duration::from_millis(1)), shared.settled()).await.unwrap_or_else(|_| {
        Err(Failure::unavailable("the index is still being made, or healed after a loss; ask again"))
    })
}

fn waiter(shared: &Shared, wait: &wire::Await) -> Result<Rc<Waiter>, Failure> {
    let until = Until::ALL
        .into_iter()
        .find(|until| until.word() == wait.until)
        .ok_or_else(|| Failure::unknown_state(&wait.until, &Until::ALL.map(Until::word)))?;
    shared.room_for_waiter()?;
    let hierarchy = shared.hierarchy(wait.hierarchy.as_deref())?;
    Ok(Waiter::new(names::from_wire(&wait.name)?, hierarchy, until))
}

/// If the state holds now, the number of the last change.
async fn held_already(shared: &Shared, waiter: &Waiter) -> Option<u64> {
    let holds = waiter.holds(shared.tracker.borrow().index());
    let look = matches!(waiter.until, Until::Populated | Until::Empty);
    let holds = holds || (look && look_at_files(shared, waiter).await);
    holds.then(|| shared.tracker.borrow().index().seq())
}

/// Returns once the state holds, with the number of the change that brought it.
async fn held_later(shared: &Shared, waiter: &Waiter) -> u64 {
    loop {
        if let Some(seq) = waiter.held() {
            return seq;
        }
        if waiter.take_look() && look_at_files(shared, waiter).await {
            return shared.tracker.borrow().index().seq();
        }
        if waiter.held().is_none() {
            waiter.woken().await;
        }
    }
}

/// Whether the file system says that the state holds. What changes after the waiter was registered wakes it, so
/// nothing is missed between this look and the next.
async fn look_at_files(shared: &Shared, waiter: &Waiter) -> bool {
    let places: Vec<Mount> = {
        let tracker = shared.tracker.borrow();
        let index = tracker.index();
        index
            .hierarchies()
            .filter(|state| waiter.hierarchy.is_none_or(|wanted| wanted == state.id))
            .filter(|state| index.resolve(state.id, &waiter.name).is_some())
            .filter_map(|state| tracker.view(state.id).mount)
            .collect()
    };
    if places.is_empty() {
        // Absent, or not to be read here: then only events tell.
        return false;
    }
    let name = waiter.name.clone();
    let read = shared.scans.run(Priority::Client, u64::MAX, move |budget| {
        let populated = |mount| hierarchy::read_populated(mount, &name, budget).ok().flatten();
        places.iter().map(populated).collect::<Vec<_>>()
    });
    let populated = read.await.unwrap_or_default();
    match waiter.until {
        Until::Populated => populated.contains(&Some(true)),
        _ => !populated.is_empty() && populated.iter().all(|populated| *populated == Some(false)),
    }
}

async fn elapsed(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
