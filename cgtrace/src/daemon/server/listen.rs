//! Accepts connections.

use std::{rc::Rc, time::Duration};

use tokio::net::{UnixListener, UnixStream};

use super::{connection, failure::Failure, pace::Lane, shared::Shared};
use crate::daemon::memory;
use cgtrace_host::descriptors::next_step;

/// How long to wait with the next connection when there is no descriptor for it, or too many are open.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// After so many connections that ended, what the allocator kept of theirs goes back to the system: some 13 KB each, where
/// all were open at once.
const GIVE_BACK_EVERY: u64 = 1_024;

/// Accepts connections for ever.
pub async fn accept(listener: UnixListener, shared: Rc<Shared>) {
    // Told once, not with every try.
    let mut failing = false;
    loop {
        if shared.connections.get() >= shared.bounds().connections {
            tokio::time::sleep(FULL_PAUSE).await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => {
                if std::mem::take(&mut failing) {
                    tracing::info!("connections are accepted again");
                }
                if let Err(failure) = admit(&stream, &shared) {
                    refuse(&stream, failure);
                } else {
                    serve(stream, Rc::clone(&shared));
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: those who are connected are served on.
                if !std::mem::replace(&mut failing, true) {
                    let next_step = next_step(&error, "it is tried again");
                    tracing::warn!(%error, "failed to accept a connection; {next_step}");
                }
                tokio::time::sleep(FULL_PAUSE).await;
            }
        }
    }
}

/// Whether its uid may have another connection: no one takes them all. Root could end us anyhow.
fn admit(stream: &UnixStream, shared: &Shared) -> Result<(), Failure> {
    let most = shared.bounds().connections_per_uid;
    let uid = uid(stream);
    if uid != 0 && shared.users.borrow().get(&uid).is_some_and(|user| user.connections >= most) {
        return Err(Failure::limit_exceeded("max_connections_per_uid", most));
    }
    Ok(())
}

/// Says why, unasked, to whoever reads it, and closes.
fn refuse(stream: &UnixStream, failure: Failure) {
    if let Ok(reply) = cgtrace_client::encode(&failure.reply()) {
        // A new connection has room for it; if not, that it is closed must do.
        let _ = stream.try_write(&reply);
    }
}

fn uid(stream: &UnixStream) -> u32 {
    stream.peer_cred().map_or(u32::MAX, |peer| peer.uid())
}

/// Serves one connection in a task of its own.
pub fn serve(stream: UnixStream, shared: Rc<Shared>) {
    let uid = uid(&stream);
    shared.connections.set(shared.connections.get() + 1);
    let lane = if uid == 0 {
        Rc::<Lane>::default()
    } else {
        let mut users = shared.users.borrow_mut();
        let user = users.entry(uid).or_default();
        user.connections += 1;
        Rc::clone(&user.lane)
    };
    tokio::task::spawn_local(async move {
        connection::serve(stream, Rc::clone(&shared), lane).await;
        shared.connections.set(shared.connections.get() - 1);
        shared.closed.set(shared.closed.get() + 1);
        if shared.closed.get().is_multiple_of(GIVE_BACK_EVERY) {
            memory::give_back();
        }
        let mut users = shared.users.borrow_mut();
        if let Some(user) = users.get_mut(&uid) {
            user.connections -= 1;
            if user.connections == 0 {
                users.remove(&uid);
            }
        }
    });
}
