//! Accepts connections. Those beyond a limit are accepted to send the error.

use std::{fs::File, rc::Rc, time::Duration};

use rustix::process::{Resource, getrlimit};
use tokio::net::{UnixListener, UnixStream};

use super::connection::{Connection, Dispatch};
use crate::daemon::{
    memory,
    server::{class::SocketClass, failure::ErrorReply, shared::Shared},
};
use cgtrace_host::descriptors::next_step;

/// Pause after a failed accept without a spare descriptor.
const PAUSE: Duration = Duration::from_millis(50);

/// Number of closed connections after which memory that the allocator retains is returned to the system:
/// about 13 KB per connection if all were open at once.
const TRIM_INTERVAL: u64 = 1_024;

/// Accepts connections to a socket; never returns.
pub async fn accept(listener: UnixListener, shared: Rc<Shared>, class: SocketClass, dispatch: Dispatch) {
    // Closed to refuse a connection when no other descriptor is available.
    let mut spare = File::open("/dev/null").ok();
    // The failure is logged once, not on every attempt.
    let mut failing = false;
    loop {
        let accepted = listener.accept().await;
        let turn = shared.socket(class).turn_to_accept().await;
        match accepted {
            Ok((stream, _)) if spare.is_some() => {
                if std::mem::take(&mut failing) {
                    tracing::info!("accepting connections again");
                }
                serve(stream, &shared, class, dispatch);
            }
            Ok((stream, _)) => {
                let limit = getrlimit(Resource::Nofile).current.unwrap_or_default();
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                refuse(&stream, ErrorReply::limit_exceeded("descriptors", limit));
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

/// Sends an error without a call, and closes the connection.
fn refuse(stream: &UnixStream, failure: ErrorReply) {
    if let Ok(reply) = cgtrace_client::encode(&failure.reply()) {
        // The buffer of a new connection has room for it.
        let _ = stream.try_write(&reply);
    }
}

/// Serves a connection in a new task, within the limits.
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
            tracing::debug!(%error, "connection closed");
        }
        drop(connected);
        shared.closed.set(shared.closed.get() + 1);
        if shared.closed.get().is_multiple_of(TRIM_INTERVAL) {
            memory::give_back();
        }
    });
}
