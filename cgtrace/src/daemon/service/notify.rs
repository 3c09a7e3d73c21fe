//! Notifies the service manager: the protocol of `sd_notify(3)`, and the watchdog of
//! `sd_watchdog_enabled(3)`.
//!
//! Implemented here because it is a single datagram, and because the socket stays open, so that `STOPPING=1`
//! can be sent when its path may no longer be reachable.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

/// The service manager that started this process. Without one, notifications are discarded.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    /// The watchdog's timeout, after which it considers the daemon hung.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The service manager named by the environment.
    #[must_use]
    pub fn from_env() -> Self {
        let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        match connect(&path) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID")),
            },
            Err(error) => {
                tracing::warn!(%error, socket = %path.display(), "failed to connect to the service manager");
                Self::default()
            }
        }
    }

    /// Reports that the daemon is ready, with its status.
    pub fn ready(&self, status: &str) {
        self.notify(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Requests more time for the start.
    pub fn still_starting(&self, more: Duration) {
        self.notify(&format!("EXTEND_TIMEOUT_USEC={}\n", more.as_micros()));
    }

    /// Reports that the daemon is stopping.
    pub fn stopping(&self) {
        self.notify("STOPPING=1\n");
    }

    /// Notifies the watchdog twice per timeout, forever; without a watchdog it sets no timer. Poll it on the
    /// thread that the watchdog must supervise.
    pub async fn watchdog(&self) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut ticks = interval(watchdog / 2);
        // No bursts of missed ticks after suspend.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.notify("WATCHDOG=1\n");
        }
    }

    fn notify(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::warn!(%error, "failed to notify the service manager: {}", message.trim_end());
        }
    }
}

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes() {
        // An abstract address.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A service manager that does not read must not block the daemon.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The watchdog's timeout, if it is set and meant for this process.
fn watchdog(usec: Option<OsString>, pid: Option<OsString>) -> Option<Duration> {
    let number = |text: OsString| text.to_str().and_then(|text| text.parse::<u64>().ok());
    if pid.is_some_and(|pid| number(pid) != Some(u64::from(std::process::id()))) {
        return None;
    }
    usec.and_then(number).filter(|usec| *usec > 1).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn paths_and_abstract_names_are_notified() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor { socket: Some(connect(path.as_os_str()).unwrap()), watchdog: None };
        supervisor.ready("7 hierarchies");
        assert_eq!(received(&by_path), "READY=1\nSTATUS=7 hierarchies\n");

        let name = format!("cgtrace-test-notify-{}", std::process::id());
        let abstract_one = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let supervisor =
            Supervisor { socket: Some(connect(OsStr::new(&format!("@{name}"))).unwrap()), watchdog: None };
        supervisor.stopping();
        assert_eq!(received(&abstract_one), "STOPPING=1\n");
    }

    #[test]
    fn a_missing_service_manager_is_not_an_error() {
        Supervisor::default().ready("");
        assert!(connect(OsStr::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn a_watchdog_of_another_process_is_ignored() {
        let some = |text: &str| Some(OsString::from(text));
        let me = std::process::id().to_string();
        assert_eq!(watchdog(some("2000000"), None), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(some("2000000"), some(&me)), Some(Duration::from_secs(2)));
        assert_eq!(watchdog(some("2000000"), some("1")), None);
        assert_eq!(watchdog(some("0"), None), None);
        assert_eq!(watchdog(some("soon"), None), None);
        assert_eq!(watchdog(None, None), None);
    }
}
