//! Tracker and server together on one thread: as a daemon, or inside a command for itself alone.

use std::{cell::RefCell, io, net::SocketAddr, os::unix::net, rc::Rc, sync::mpsc, thread};

use anyhow::Context as _;
use cgtrace_client::RuntimeDir;
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
    metrics::Metered,
    shared::{SETTLE_TIMEOUT, Shared},
    transport::{accept, bind, serve},
};
use crate::daemon::{
    probe::{self, Records as _},
    service::{self, Sockets, Supervisor},
    tracker::{Priority, ScanThread, StartError, Tracker, drive},
};
use cgtrace_host::{clock, descriptors, process};

/// How the daemon is to run.
pub struct DaemonOptions {
    /// Where it listens, unless its sockets are passed to it.
    pub runtime_dir: RuntimeDir,
    /// How the kernel program is loaded.
    pub probe: probe::Options,
    /// How much clients can take.
    pub limits: Limits,
    /// Where metrics are served over HTTP, if at all.
    pub metrics_listen: Option<SocketAddr>,
    /// Called at SIGHUP: what is to be in force from then on; `None`: nothing changes.
    pub reload: Box<dyn FnMut() -> Option<Reloaded>>,
}

/// What can change while the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// How much clients can take.
    pub limits: Limits,
    /// Where metrics are served over HTTP, if at all.
    pub metrics_listen: Option<SocketAddr>,
    /// The comms whose execs are told of, NUL-padded.
    pub tracked: Vec<[u8; 16]>,
}

/// Why the tracker could not run inside this process.
#[derive(Debug, thiserror::Error)]
pub enum InProcessError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The runtime or its socket pair could not be made.
    #[error("failed to run the tracker in this process: {0}")]
    Io(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT.
pub fn run_daemon(options: DaemonOptions) -> anyhow::Result<()> {
    descriptors::raise_limit();
    let supervisor = Rc::new(Supervisor::from_env());
    if let Some(sockets) = service::inherited()? {
        // They outlive this process: the service manager keeps new connections until the next daemon.
        tracing::info!("serving the sockets that were passed");
        return serve_sockets(options, sockets, &supervisor);
    }
    let (sockets, _created) = bind(&options.runtime_dir)?;
    serve_sockets(options, sockets, &supervisor)
}

fn serve_sockets(
    mut options: DaemonOptions,
    sockets: Sockets,
    supervisor: &Rc<Supervisor>,
) -> anyhow::Result<()> {
    raise_descriptors(&mut options.limits);
    let tracker = Rc::new(RefCell::new(Tracker::start(&options.probe)?));
    tracker.borrow_mut().limit_previous(options.limits.previous());
    // There is one thread yet: those that come have no more than it.
    let kept = service::drop_after_loading(|| tracker.borrow().probe().losses().is_ok())
        .context("failed to drop the capabilities that loading took")?;
    tracing::info!(%kept, "capabilities dropped");
    let scans = ScanThread::start().context("failed to start the scan thread")?;
    let runtime = runtime().context("failed to start the runtime")?;
    let outcome = LocalSet::new().block_on(&runtime, async {
        let shared = Shared::new(Rc::clone(&tracker), scans.clone(), options.limits);
        let listener = |socket| UnixListener::from_std(socket).context("failed to wait on a socket");
        let (public, private) = (listener(sockets.public)?, listener(sockets.private)?);
        let mut terminate = signal(SignalKind::terminate()).context("failed to wait for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("failed to wait for SIGHUP")?;
        let ready = Rc::clone(&shared);
        let told = Rc::clone(supervisor);
        tokio::task::spawn_local(async move {
            while ready.settled().await.is_err() {
                told.still_starting(SETTLE_TIMEOUT * 2);
            }
            tracing::info!("the index is complete");
            told.ready(&summary(&ready));
        });
        tokio::task::spawn_local(look_at_processes(Rc::clone(&shared)));
        let mut serves = options.metrics_listen;
        let mut watches = std::mem::take(&mut options.probe.tracked);
        let listen = |address| Metered::listen(address, Rc::clone(&shared));
        let mut metered = serves.map(listen).transpose()?;
        let reloading = async {
            while hangup.recv().await.is_some() {
                if let Some(Reloaded { mut limits, metrics_listen, tracked }) = (options.reload)() {
                    if metrics_listen != serves {
                        serves = metrics_listen;
                        drop(metered.take());
                        metered = metrics_listen.and_then(|address| {
                            listen(address).inspect_err(|error| tracing::error!("{error}")).ok()
                        });
                    }
                    if tracked != watches {
                        watch(&shared, &tracked);
                        watches = tracked;
                    }
                    raise_descriptors(&mut limits);
                    shared.hub.set_limits(limits);
                    shared.tracker.borrow_mut().limit_previous(limits.previous());
                }
            }
            std::future::pending::<()>().await;
        };
        let outcome = tokio::select! {
            driven = drive(tracker, scans) => driven.context("the tracker stopped"),
            () = accept(public, Rc::clone(&shared), SocketClass::Public, dispatch) => Ok(()),
            () = accept(private, Rc::clone(&shared), SocketClass::Private, dispatch) => Ok(()),
            () = shared.hub.deliver_public(shared.socket(SocketClass::Public)) => Ok(()),
            () = reloading => Ok(()),
            () = supervisor.watchdog() => Ok(()),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        };
        supervisor.stopping();
        outcome
    });
    // Nothing is waited for: a scan that runs ends with the process.
    runtime.shutdown_background();
    outcome
}

/// Watches other comms, of which processes may run already.
fn watch(shared: &Rc<Shared>, comms: &[[u8; 16]]) {
    match shared.tracker.borrow_mut().watch(comms) {
        Ok(()) => drop(tokio::task::spawn_local(look_at_processes(Rc::clone(shared)))),
        Err(error) => tracing::error!("`watch` is in force in part at most; restart the daemon: {error}"),
    }
}

/// One line about the index, for those who look at the service.
fn summary(shared: &Shared) -> String {
    let tracker = shared.tracker.borrow();
    let (mut hierarchies, mut cgroups) = (0, 0);
    for state in tracker.index().hierarchies() {
        hierarchies += 1;
        cgroups += state.cgroups;
    }
    format!("tracing {cgroups} cgroups on {hierarchies} hierarchies")
}

/// Raises the process's own limit on descriptors to what the connections need, as far as the hard limit allows. Where
/// it does not, each socket has half of what is left, so that the public one takes none of the private one's.
fn raise_descriptors(limits: &mut Limits) {
    /// Rings, maps, hooks, mounts and logs.
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
        "this process may not open a descriptor for every connection, so the limits are lower; raise its limit \
         (LimitNOFILE= in a unit) or lower `max-connections`"
    );
}

/// Runs tracker and server on a thread of this process; the stream is a connection to them. They end with the
/// process.
pub fn in_process() -> Result<net::UnixStream, InProcessError> {
    let (ours, theirs) = net::UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let (started, outcome) = mpsc::channel();
    thread::Builder::new().name("tracker".to_owned()).spawn(move || {
        let begun = (|| {
            let tracker = Tracker::start(&probe::Options::default())?;
            Ok::<_, InProcessError>((Rc::new(RefCell::new(tracker)), ScanThread::start()?, runtime()?))
        })();
        let (tracker, scans, runtime) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        let _ = started.send(Ok(()));
        LocalSet::new().block_on(&runtime, async {
            let shared = Shared::new(Rc::clone(&tracker), scans.clone(), Limits::default());
            tokio::task::spawn_local(look_at_processes(Rc::clone(&shared)));
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

/// Finds the processes of tracked names that were there before their execs could be seen.
async fn look_at_processes(shared: Rc<Shared>) {
    let tracked: Vec<[u8; 16]> = shared.tracker.borrow().process_log().tracked().copied().collect();
    if tracked.is_empty() {
        return;
    }
    let found = shared.scans.run(Priority::Client, u64::MAX, move |_| {
        let comms: Vec<&[u8]> = tracked.iter().map(process::comm_of).collect();
        (clock::boot_ns(), process::named(&comms))
    });
    // Their cgroups are found by name, so the index is to be complete.
    if let (Ok((at, found)), Ok(())) = (found.await, shared.settled().await) {
        shared.tracker.borrow_mut().record_preexisting(at, &found);
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
