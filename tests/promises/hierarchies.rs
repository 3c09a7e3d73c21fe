//! Hierarchies that are mounted and unmounted while the daemon runs, and those that are not mounted here.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::process::CommandExt as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    Outcome,
    daemon::{Daemon, open_folder, program},
    events::Follower,
    named::Named,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("hierarchies::mounted_and_unmounted_while_running", mounted_and_unmounted_while_running),
        trial("hierarchies::mounted_while_the_daemon_is_stopped", mounted_while_stopped),
        trial("hierarchies::an_unmounted_one_is_known_from_events", one_that_is_not_mounted),
        trial("hierarchies::many_mounted_back_to_back", back_to_back),
        trial("hierarchies::many_come_and_go_beside_3000_mounts", beside_many_mounts),
    ]
}

fn status_of(daemon: &Daemon, hierarchy: &str) -> Result<Option<wire::HierarchyStatus>> {
    let status = daemon.client()?.status()?;
    Ok(status.hierarchies.into_iter().find(|state| state.hierarchy == hierarchy))
}

fn mounted_and_unmounted_while_running() -> Outcome {
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, "/", &["hierarchy-created", "hierarchy-destroyed"])?;
    let named = Named::mount()?;
    // Another test may mount one at the same time.
    let event = loop {
        let event = follower.next_of("hierarchy-created")?;
        if event.hierarchy == Some(named.hierarchy()) {
            break event;
        }
    };
    let path = named.path().join("cgtrace-test-in-new");
    fs::create_dir(&path)?;
    let row = daemon.row("/cgtrace-test-in-new", &named.hierarchy())?;
    // It was observed from its creation: none of its cgroups has `existed_at`.
    let instance = row.current.as_ref().context("no current instance")?;
    ensure!(row.present && row.scanned && instance.created_at.is_some(), "{row:?}");
    fs::remove_dir(&path)?;
    daemon.verify()?;
    let state = status_of(&daemon, &named.hierarchy())?.context("not in the status")?;
    ensure!(state.mount.as_deref() == named.path().to_str(), "{state:?}");
    ensure!(named.end(), "the kernel did not destroy it");
    let hierarchy = event.hierarchy_id;
    loop {
        let event = follower.next_of("hierarchy-destroyed").with_context(|| {
            format!("no hierarchy-destroyed; the status has {:?}", status_of(&daemon, &named.hierarchy()))
        })?;
        if event.hierarchy_id == hierarchy {
            break;
        }
    }
    ensure!(status_of(&daemon, &named.hierarchy())?.is_none(), "it is still there");
    Ok(())
}

/// The mount table shows it at the same time as its record is read: it is reported once, and observed from
/// its creation.
fn mounted_while_stopped() -> Outcome {
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, "/", &["hierarchy-created"])?;
    for _ in 0..8 {
        daemon.signal(Signal::STOP)?;
        let named = Named::mount();
        daemon.signal(Signal::CONT)?;
        let named = named?;
        let event = loop {
            let event = follower.next_of("hierarchy-created")?;
            if event.hierarchy == Some(named.hierarchy()) {
                break event;
            }
        };
        ensure!(event.by.as_ref().is_some_and(|by| by.comm == "mount") && !event.inferred, "{event:?}");
        ensure!(named.end(), "the kernel did not destroy it");
    }
    Ok(())
}

/// KERNEL 5.4: a v1 hierarchy with children survives umount(2).
fn one_that_is_not_mounted() -> Outcome {
    let named = Named::mount()?;
    let outer = named.path().join("cgtrace-test-outer");
    fs::create_dir(&outer)?;
    named.unmount()?;
    let daemon = Daemon::start()?;
    let state = status_of(&daemon, &named.hierarchy())?.context("/proc/self/cgroup lists it")?;
    ensure!(!state.scanned && state.mount.is_none(), "{state:?}");
    ensure!(state.note.as_deref().is_some_and(|note| note.contains("not mounted")), "{state:?}");
    let row = daemon.row("/cgtrace-test-outer", &named.hierarchy())?;
    ensure!(!row.present && !row.scanned, "it must be reported as not scanned: {row:?}");
    // Mounted again, it is scanned: only the mount table shows that.
    named.mount_again()?;
    for _ in 0..200 {
        if daemon.row("/cgtrace-test-outer", &named.hierarchy())?.present {
            let row = daemon.row("/cgtrace-test-outer", &named.hierarchy())?;
            ensure!(
                row.current
                    .as_ref()
                    .is_some_and(|instance| instance.existed_at.is_some() && instance.created_at.is_none()),
                "{row:?}"
            );
            return daemon.verify();
        }
        thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("it was never scanned")
}

/// How often each hierarchy was reported as created and as destroyed.
type CountsByHierarchy = BTreeMap<String, [usize; 2]>;

/// Reads events until each of these hierarchies has been reported as destroyed.
fn until_gone(follower: &mut Follower, named: &[Named]) -> Result<CountsByHierarchy> {
    let mut counts: CountsByHierarchy = named.iter().map(|named| (named.hierarchy(), [0; 2])).collect();
    while counts.values().any(|[_, destroyed]| *destroyed == 0) {
        let event = follower.next().with_context(|| format!("{counts:?}"))?;
        let Some(counts) = event.hierarchy.and_then(|name| counts.get_mut(&name)) else { continue };
        counts[usize::from(event.kind == "hierarchy-destroyed")] += 1;
    }
    Ok(counts)
}

/// While one is mounted, the daemon reads a list that lacks the next one.
fn back_to_back() -> Outcome {
    const COUNT: usize = 40;
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, "/", &["hierarchy-created", "hierarchy-destroyed"])?;
    let named = Named::mount_back_to_back(COUNT, "cgtrace-test-child")?;
    for named in &named {
        let row = daemon.row("/cgtrace-test-child", &named.hierarchy())?;
        let instance = row.current.as_ref().with_context(|| format!("no current: {row:?}"))?;
        let by = instance.created_by.as_ref().map(|by| by.pid);
        ensure!(row.present && instance.created_at.is_some() && by == Some(std::process::id()), "{row:?}");
    }
    daemon.verify()?;
    // All of them first, because a removed cgroup that is not released yet keeps its hierarchy alive.
    for named in &named {
        fs::remove_dir(named.path().join("cgtrace-test-child"))?;
    }
    for named in &named {
        ensure!(named.end(), "the kernel did not destroy {}", named.hierarchy());
    }
    let counts = until_gone(&mut follower, &named)?;
    ensure!(counts.values().all(|counts| *counts == [1, 1]), "not reported once: {counts:?}");
    nothing_of_them_is_left(&daemon, &mut follower, &named)
}

/// The more mounts there are, the longer it takes to read the list.
fn beside_many_mounts() -> Outcome {
    const MOUNTS: usize = 3_000;
    let folder = open_folder()?;
    let mut command = program();
    command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
    let crowd = move || -> io::Result<()> {
        let mount = |source: &std::ffi::CStr, target: &std::ffi::CStr, flags| {
            // SAFETY: both are NUL-terminated strings that outlive the call.
            match unsafe {
                libc::mount(source.as_ptr(), target.as_ptr(), std::ptr::null(), flags, std::ptr::null())
            } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        };
        // SAFETY: the child has one thread.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return Err(io::Error::last_os_error());
        }
        mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE)?;
        (0..MOUNTS).try_for_each(|_| mount(c"/proc/sys", c"/proc/sys", libc::MS_BIND))
    };
    // SAFETY: the closure only makes system calls.
    unsafe { command.pre_exec(crowd) };
    let mut daemon = Daemon::spawn_by(&mut command, folder)?;
    daemon.wait_ready()?;
    let mut follower = Follower::below(&daemon, "/", &["hierarchy-created", "hierarchy-destroyed"])?;
    let named = (0..40).map(|_| Named::pass_through(daemon.pid())).collect::<Result<Vec<_>>>()?;
    let counts = until_gone(&mut follower, &named)?;
    ensure!(counts.values().all(|counts| *counts == [1, 1]), "not reported once: {counts:?}");
    nothing_of_them_is_left(&daemon, &mut follower, &named)
}

fn nothing_of_them_is_left(daemon: &Daemon, follower: &mut Follower, named: &[Named]) -> Outcome {
    let start = Instant::now();
    while named.iter().any(Named::is_alive) {
        ensure!(start.elapsed() < Duration::from_mins(1), "the kernel does not destroy them");
        thread::sleep(Duration::from_millis(10));
    }
    // The daemon handles the mount table's last change before a hierarchy that is mounted now.
    let mark = Named::mount()?;
    loop {
        let event = follower.next_of("hierarchy-created")?;
        let name = event.hierarchy.unwrap_or_default();
        ensure!(!named.iter().any(|named| named.hierarchy() == name), "{name} is reported as created again");
        if name == mark.hierarchy() {
            break;
        }
    }
    for named in named {
        ensure!(status_of(daemon, &named.hierarchy())?.is_none(), "{} is still there", named.hierarchy());
    }
    Ok(())
}
