//! Telling a service manager how we are: the protocol of `sd_notify(3)`, and the watchdog of `sd_watchdog_enabled(3)`.
//!
//! Our own, because it is one datagram, and because the socket stays open: it is told when the daemon ends too, when
//! paths may not lead there any more.

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

/// The service manager that started this process; one that hears nothing, if there is none.
#[derive(Debug, Default)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How long it waits between two signs of instance before it takes us for dead.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment names.
    #[must_use]
    pub fn from_env() -> Self {
        let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        match connect(&path) {
            Ok(socket) => Self {
                socket: Some(socket),
                watchdog: watchdog(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID")),
            },
            Err(error) => {
                tracing::warn!(%error, socket = %path.display(), "the service manager cannot be told anything");
                Self::default()
            }
        }
    }

    /// We answer now, and this is how we are.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// We are still starting, and need more time.
    pub fn still_starting(&self, more: Duration) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}\n", more.as_micros()));
    }

    /// We are about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\n");
    }

    /// Gives a sign of instance twice in each interval of the watchdog, for ever. Without a watchdog it does nothing:
    /// there is no timer. It must be polled by the thread whose instance matters.
    pub async fn watchdog(&self) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut ticks = interval(watchdog / 2);
        // A machine that slept is not caught up with.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1\n");
        }
    }

    fn tell(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::warn!(%error, "the service manager was not told: {}", message.trim_end());
        }
    }
}

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let address = match path.as_bytes() {
        // An abstract one.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    // A service manager that does not read must not stop us.
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The watchdog's interval, if it is set and meant for this process.
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

    fn told(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor { socket: Some(connect(path.as_os_str()).unwrap()), watchdog: None };
        supervisor.ready("7 hierarchies");
        assert_eq!(told(&by_path), "READY=1\nSTATUS=7 hierarchies\n");

        let name = format!("cgtrace-test-notify-{}", std::process::id());
        let abstract_one = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let supervisor =
            Supervisor { socket: Some(connect(OsStr::new(&format!("@{name}"))).unwrap()), watchdog: None };
        supervisor.stopping();
        assert_eq!(told(&abstract_one), "STOPPING=1\n");
    }

    #[test]
    fn nobody_to_tell_is_no_error() {
        Supervisor::default().ready("");
        assert!(connect(OsStr::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
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
