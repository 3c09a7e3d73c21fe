//! Accepts connections: always, and those beyond a limit only to say so.

use std::{fs::File, rc::Rc, time::Duration};

use rustix::process::{Resource, getrlimit};
use tokio::net::{UnixListener, UnixStream};

use super::connection::{Connection, Dispatch};
use crate::daemon::{
    memory,
    server::{class::SocketClass, failure::Failure, shared::Shared},
};
use cgtrace_host::descriptors::next_step;

/// How long to wait with the next connection when not even the spare descriptor is there.
const PAUSE: Duration = Duration::from_millis(50);

/// After this many closed connections what the allocator kept of theirs goes back to the system: some 13 KB each, where
/// all were open at once.
const GIVE_BACK_EVERY: u64 = 1_024;

/// Accepts connections to one of the sockets, for ever.
pub async fn accept(listener: UnixListener, shared: Rc<Shared>, class: SocketClass, dispatch: Dispatch) {
    // Given away to refuse a connection when no other descriptor is left.
    let mut spare = File::open("/dev/null").ok();
    // Logged once, not with every try.
    let mut failing = false;
    loop {
        let accepted = listener.accept().await;
        let turn = shared.socket(class).turn_to_accept().await;
        match accepted {
            Ok((stream, _)) if spare.is_some() => {
                if std::mem::take(&mut failing) {
                    tracing::info!("connections are accepted again");
                }
                serve(stream, &shared, class, dispatch);
            }
            Ok((stream, _)) => {
                let limit = getrlimit(Resource::Nofile).current.unwrap_or_default();
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                refuse(&stream, Failure::limit_exceeded("descriptors", limit));
                drop(stream);
                spare = File::open("/dev/null").ok();
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    let next_step = next_step(&error, "further connections are refused");
                    tracing::warn!(%error, "failed to accept a connection; {next_step}");
                }
                drop(turn);
                if spare.take().is_none() {
                    tokio::time::sleep(PAUSE).await;
                    spare = File::open("/dev/null").ok();
                }
            }
        }
    }
}

/// Sends the reason, unasked, and closes.
fn refuse(stream: &UnixStream, failure: Failure) {
    if let Ok(reply) = cgtrace_client::encode(&failure.reply()) {
        // A new connection has room for it; if not, the client sees that it is closed.
        let _ = stream.try_write(&reply);
    }
}

/// Serves a connection in a task of its own, if there is room for it.
pub fn serve(stream: UnixStream, shared: &Rc<Shared>, class: SocketClass, dispatch: Dispatch) {
    let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    let (account, connected) = match shared.socket(class).admit(uid, &shared.limits()) {
        Ok(admitted) => admitted,
        Err(failure) => return refuse(&stream, failure),
    };
    let shared = Rc::clone(shared);
    tokio::task::spawn_local(async move {
        let connection = Connection::new(stream, Rc::clone(&shared), class, account);
        if let Err(error) = connection.run(dispatch).await {
            tracing::debug!(%error, "a connection ended");
        }
        drop(connected);
        shared.closed.set(shared.closed.get() + 1);
        if shared.closed.get().is_multiple_of(GIVE_BACK_EVERY) {
            memory::give_back();
        }
    });
}
