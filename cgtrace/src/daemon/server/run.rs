//! Runs tracker and server on one thread: as a daemon, or inside a command.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    os::unix::{ffi::OsStrExt as _, net},
    rc::Rc,
    sync::mpsc,
    thread,
};

use anyhow::Context as _;
use cgtrace_client::{RuntimeDir, paths};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    task::LocalSet,
};

use super::{
    class::SocketClass,
    limits::Limits,
    methods::dispatch,
    metrics::MetricsServer,
    shared::{SETTLE_TIMEOUT, Shared},
    transport::{accept, bind, serve},
};
use crate::daemon::{
    history::{History, HistoryOptions, keep_live_set},
    probe::{self, Records as _},
    service::{self, Sockets, Supervisor},
    tracker::{Priority, ScanThread, StartError, Tracker, drive},
};
use cgtrace_host::{clock, descriptors, process};

/// The options of the daemon.
pub struct DaemonOptions {
    /// The directory of the sockets, unless they are inherited.
    pub runtime_dir: RuntimeDir,
    /// How the BPF programs are loaded.
    pub probe: probe::Options,
    /// Where and how much history is stored.
    pub history: HistoryOptions,
    /// Limits on what clients can use.
    pub limits: Limits,
    /// The address that serves metrics over HTTP, if any.
    pub metrics_listen: Option<SocketAddr>,
    /// Called on SIGHUP. Returns the new values, or `None` if nothing changes.
    pub reload: Box<dyn FnMut() -> Option<Reloaded>>,
}

/// The values that a reload can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Limits on what clients can use.
    pub limits: Limits,
    /// The address that serves metrics over HTTP, if any.
    pub metrics_listen: Option<SocketAddr>,
    /// The comms whose execs are recorded, NUL-padded.
    pub tracked: Vec<[u8; 16]>,
}

/// Why the tracker cannot run in this process.
#[derive(Debug, thiserror::Error)]
pub enum InProcessError {
    /// The tracker failed to start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The runtime or the socket pair could not be created.
    #[error("failed to run the tracker in this process: {0}")]
    Io(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT.
pub fn run_daemon(options: DaemonOptions) -> anyhow::Result<()> {
    descriptors::raise_limit();
    let supervisor = Rc::new(Supervisor::from_env());
    if let Some(sockets) = service::inherited()? {
        // They outlive this process: the service manager queues new connections for the next daemon.
        log_listening(&sockets, true);
        return serve_sockets(options, sockets, &supervisor);
    }
    let (sockets, _created) = bind(&options.runtime_dir)?;
    log_listening(&sockets, false);
    serve_sockets(options, sockets, &supervisor)
}

/// Logs where clients find this daemon.
fn log_listening(sockets: &Sockets, inherited: bool) {
    let path = |socket: &net::UnixListener| {
        let address = socket.local_addr().ok();
        let path = address.as_ref().and_then(|address| address.as_pathname());
        path.map_or_else(
            || "a socket without a path".to_owned(),
            |path| paths::escape(path.as_os_str().as_bytes()),
        )
    };
    let (public, private) = (path(&sockets.public), path(&sockets.private));
    tracing::info!(public, private, inherited, "listening");
}

fn serve_sockets(
    mut options: DaemonOptions,
    sockets: Sockets,
    supervisor: &Rc<Supervisor>,
) -> anyhow::Result<()> {
    raise_descriptors(&mut options.limits);
    let tracker = Rc::new(RefCell::new(Tracker::start(&options.probe)?));
    // Before any other thread starts: threads inherit the capabilities.
    let retained =
        service::drop_after_loading(|| tracker.borrow().probe().is_none_or(|probe| probe.losses().is_ok()))
            .context("failed to drop the capabilities that only loading needs")?;
    tracing::info!(%retained, "capabilities dropped");
    let scans = ScanThread::start().context("failed to start the scan thread")?;
    let (history, opened) =
        History::start(std::mem::take(&mut options.history)).context("failed to start the history thread")?;
    history.begin(&mut tracker.borrow_mut(), &opened);
    let runtime = runtime().context("failed to start the runtime")?;
    let outcome = LocalSet::new().block_on(&runtime, async {
        let shared = Shared::new(Rc::clone(&tracker), Rc::clone(&history), scans.clone(), options.limits);
        let live_set = keep_live_set(Rc::clone(&history), Rc::clone(&tracker));
        tokio::task::spawn_local(live_set);
        let listener = |socket| UnixListener::from_std(socket).context("failed to register a socket");
        let (public, private) = (listener(sockets.public)?, listener(sockets.private)?);
        let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("failed to wait for SIGHUP")?;
        let ready = Rc::clone(&shared);
        let supervisor_of_start = Rc::clone(supervisor);
        tokio::task::spawn_local(async move {
            while ready.settled().await.is_err() {
                supervisor_of_start.still_starting(SETTLE_TIMEOUT * 2);
            }
            tracing::info!("index complete");
            supervisor_of_start.ready(&summary(&ready));
        });
        tokio::task::spawn_local(record_running_processes(Rc::clone(&shared)));
        let mut metrics_address = options.metrics_listen;
        let mut tracked_now = std::mem::take(&mut options.probe.tracked);
        let listen = |address| MetricsServer::listen(address, Rc::clone(&shared));
        let mut metrics_server = metrics_address.map(listen).transpose()?;
        let reloading = async {
            while hangup.recv().await.is_some() {
                if let Some(Reloaded { mut limits, metrics_listen, tracked }) = (options.reload)() {
                    if metrics_listen != metrics_address {
                        metrics_address = metrics_listen;
                        drop(metrics_server.take());
                        metrics_server = metrics_listen.and_then(|address| {
                            listen(address).inspect_err(|error| tracing::error!("{error}")).ok()
                        });
                    }
                    if tracked != tracked_now {
                        track(&shared, &tracked);
                        tracked_now = tracked;
                    }
                    raise_descriptors(&mut limits);
                    shared.hub.set_limits(limits);
                }
            }
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            driven = drive(Rc::clone(&tracker), scans) => driven.context("the tracker stopped"),
            () = accept(public, Rc::clone(&shared), SocketClass::Public, dispatch) => Ok(()),
            () = accept(private, Rc::clone(&shared), SocketClass::Private, dispatch) => Ok(()),
            () = shared.hub.deliver_public(shared.socket(SocketClass::Public)) => Ok(()),
            () = reloading => Ok(()),
            () = supervisor.watchdog() => Ok(()),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        };
        supervisor.stopping();
        history.end(&mut tracker.borrow_mut());
        outcome
    });
    // A scan that still runs ends with the process.
    runtime.shutdown_background();
    outcome
}

/// Tracks other comms, whose processes may already run.
fn track(shared: &Rc<Shared>, comms: &[[u8; 16]]) {
    match shared.tracker.borrow_mut().watch(comms) {
        Ok(()) => drop(tokio::task::spawn_local(record_running_processes(Rc::clone(shared)))),
        Err(error) => tracing::error!("failed to apply `track-exec` completely; restart the daemon: {error}"),
    }
}

/// A one-line summary of the index for `systemctl status`.
fn summary(shared: &Shared) -> String {
    let tracker = shared.tracker.borrow();
    let (mut hierarchies, mut cgroups) = (0, 0);
    for state in tracker.index().hierarchies() {
        hierarchies += 1;
        cgroups += state.cgroups;
    }
    format!("tracing {cgroups} cgroups on {hierarchies} hierarchies")
}

/// Raises the soft limit on file descriptors to what the connections need, as far as the hard limit allows.
/// If that is not enough, each socket is limited to half of what is available, so that public clients cannot
/// use up the private socket's share.
fn raise_descriptors(limits: &mut Limits) {
    /// Descriptors for rings, maps, links, mounts and logs.
    const OWN: u64 = 256;
    let needed = (limits.max_connections + limits.max_public_connections) as u64 + OWN;
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(limit.current) {
        return;
    }
    let most = limit.maximum.map_or(needed, |most| most.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    if raised.is_ok() && enough(Some(most)) {
        return;
    }
    let open = getrlimit(Resource::Nofile).current.unwrap_or(most);
    let room = (open - OWN.min(open / 2)) / 2;
    let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
    limits.max_connections = limits.max_connections.min(room);
    limits.max_public_connections = limits.max_public_connections.min(room);
    tracing::warn!(
        needed,
        descriptors = open,
        max_connections = limits.max_connections,
        max_public_connections = limits.max_public_connections,
        "the limit on file descriptors is too low for every connection, so the connection limits are lowered; raise \
         it (LimitNOFILE= in a unit) or lower `max-connections`"
    );
}

/// Traces in this process, and returns a connection to the tracer, which ends with the process.
pub fn in_process() -> Result<net::UnixStream, InProcessError> {
    serve_here(|| Tracker::start(&probe::Options::default()))
}

/// As [`in_process`], without a kernel program: the present is read from the mounted cgroup file systems, with
/// the privileges of this process, and nothing is known of the past.
pub fn from_cgroupfs() -> Result<net::UnixStream, InProcessError> {
    serve_here(Tracker::without_probe)
}

/// Runs tracker and server on a thread of this process.
fn serve_here(
    start: impl FnOnce() -> Result<Tracker, StartError> + Send + 'static,
) -> Result<net::UnixStream, InProcessError> {
    let (ours, theirs) = net::UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let (started, outcome) = mpsc::channel();
    thread::Builder::new().name("tracker".to_owned()).spawn(move || {
        let begun = (|| {
            let mut tracker = start()?;
            let (history, opened) = History::start(HistoryOptions::default())?;
            history.begin(&mut tracker, &opened);
            let tracker = Rc::new(RefCell::new(tracker));
            Ok::<_, InProcessError>((tracker, history, ScanThread::start()?, runtime()?))
        })();
        let (tracker, history, scans, runtime) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        let _ = started.send(Ok(()));
        LocalSet::new().block_on(&runtime, async {
            let shared =
                Shared::new(Rc::clone(&tracker), Rc::clone(&history), scans.clone(), Limits::default());
            tokio::task::spawn_local(keep_live_set(history, Rc::clone(&tracker)));
            tokio::task::spawn_local(record_running_processes(Rc::clone(&shared)));
            if let Ok(stream) = UnixStream::from_std(theirs) {
                serve(stream, &shared, SocketClass::Private, dispatch);
            }
            if let Err(error) = drive(tracker, scans).await {
                tracing::error!(%error, "the tracker stopped");
            }
        });
    })?;
    outcome.recv().map_err(io::Error::other)??;
    Ok(ours)
}

/// Records the processes with tracked comms that started before their execs could be observed.
async fn record_running_processes(shared: Rc<Shared>) {
    let tracked: Vec<[u8; 16]> = shared.tracker.borrow().tracked().copied().collect();
    if tracked.is_empty() {
        return;
    }
    let found = shared.scans.run(Priority::Client, u64::MAX, move |_| {
        let comms: Vec<&[u8]> = tracked.iter().map(process::comm_of).collect();
        (clock::boot_ns(), process::named(&comms))
    });
    // Their cgroups are resolved by path, which needs a complete index.
    if let (Ok((at, found)), Ok(())) = (found.await, shared.settled().await) {
        shared.tracker.borrow_mut().record_preexisting(at, &found);
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
