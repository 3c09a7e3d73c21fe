//! The steps that are the same for every runtime.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::wire;
use cgtrace_host::hierarchy::discover;
use rustix::{
    process::{Pid, Signal, kill_process},
    time::{ClockId, clock_gettime},
};
use tempfile::TempDir;

use crate::support::{
    Outcome,
    cgroup::{self, Cgroup},
    daemon::{Daemon, open_folder},
    events::Follower,
    lab,
};

/// A container and the facts that its cgroup's path proves.
pub struct Container {
    /// The cgroup's path, on every hierarchy that has it.
    pub cgroup: String,
    /// Its id, which is part of each of its cgroups' paths.
    pub id: String,
    /// Its runtime, where the path proves it.
    pub runtime: Option<&'static str>,
    /// Whether its path proves any of this.
    pub proven: bool,
}

impl Container {
    /// The id and the runtime that its path proves.
    fn proof(&self) -> (Option<&str>, Option<&str>) {
        if self.proven { (Some(&self.id), self.runtime) } else { (None, None) }
    }
}

/// Fails unless the path proves exactly that container and that runtime.
pub fn proves(path: &str, id: Option<&str>, runtime: Option<&str>) -> Outcome {
    let named = cgtrace_paths::parse_exact(path.as_bytes());
    ensure!(named.container_id.as_deref() == id, "{path}: {named:?}");
    ensure!(named.runtime.map(cgtrace_paths::Runtime::as_str) == runtime, "{path}: {named:?}");
    Ok(())
}

/// A tracing daemon, and a root file system for a container.
pub struct Scene {
    daemon: Daemon,
    follower: Follower,
    seen: Vec<wire::Event>,
    folder: TempDir,
    _leftovers: Leftovers,
}

impl Scene {
    /// `leaves_behind`: the top-level cgroups that the runtime does not remove itself.
    pub fn new(leaves_behind: &[&str]) -> Result<Self> {
        let folder = open_folder()?;
        root_file_system(&folder.path().join("root"))?;
        let leftovers = Leftovers::of(leaves_behind)?;
        let daemon = Daemon::start()?;
        let kinds = ["mkdir", "rmdir", "attach", "fork", "freeze", "thaw"];
        let follower = Follower::start(
            &daemon,
            &wire::Watch { kinds: Some(kinds.map(str::to_owned).to_vec()), ..wire::Watch::default() },
        )?;
        Ok(Self { daemon, follower, seen: Vec::new(), folder, _leftovers: leftovers })
    }

    /// The daemon.
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// A directory for the runtime's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A root file system with busybox.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// After the start: the path proves the container's id and runtime, and lookups find each of its cgroups,
    /// with its creator, exactly where the file systems have it.
    pub fn started(&self, container: &Container) -> Outcome {
        let (id, runtime) = container.proof();
        proves(&container.cgroup, id, runtime)?;
        let lookup = wire::Lookup { paths: vec![container.cgroup.clone()], ..wire::Lookup::default() };
        let answer =
            self.daemon.client()?.lookup_with(&lookup)?.results.into_iter().next().context("empty reply")?;
        ensure!(answer.present, "{answer:?}");
        for found in discover()? {
            let Some(mount) = found.mount else { continue };
            let name = found.name;
            let path = mount.path.join(container.cgroup.trim_start_matches('/'));
            let row = answer.hierarchies.iter().find(|row| *row.hierarchy == *name);
            let instance = row.and_then(|row| row.current.as_ref());
            ensure!(instance.map(|instance| instance.id) == cgroup::id(&path).ok(), "{name}: {row:?}");
            if let Some(instance) = instance {
                ensure!(
                    instance.created_at.is_some() && instance.created_by.is_some(),
                    "{name}: {instance:?}"
                );
            }
        }
        let timeout = Some(Duration::from_secs(5));
        let populated =
            self.daemon.client()?.wait(&container.cgroup, cgtrace_client::CgroupState::Populated, timeout)?;
        ensure!(populated.reached, "it contains no process: {answer:?}");
        self.is_found_by_its_names(container)
    }

    /// The container's id, and what people copy with the id in it, lead to its cgroup.
    fn is_found_by_its_names(&self, container: &Container) -> Outcome {
        let Container { cgroup, id, proven, .. } = container;
        let mut texts =
            vec![format!("/proc/1/root/sys/fs/cgroup{cgroup}/cgroup.procs"), format!("0::{cgroup}")];
        if *proven {
            texts.push(id.clone());
        }
        if *proven && id.len() == 64 {
            texts.extend([
                format!("ctr/{}", &id[..12]),
                id[..13].to_owned(),
                format!("containerd://{id}"),
                // What either driver would call it.
                format!("system.slice:docker:{id}"),
                format!("cri-containerd-{id}.scope: Deactivated successfully."),
                format!("time=\"2026-11-30T13:00:00Z\" level=info msg=\"shim disconnected\" id={id} namespace=moby"),
            ]);
        }
        for text in texts {
            let output = self.daemon.run(&["exists", "--json", &text])?;
            let found: serde_json::Value =
                serde_json::from_slice(&output.stdout).with_context(|| format!("{text}: {output:?}"))?;
            ensure!(found["path"] == **cgroup && found["present"] == true, "{text}: {found}");
        }
        Ok(())
    }

    /// Executes a process in it, which must be reported as entering the container's cgroup.
    pub fn executes(&mut self, container: &Container, command: &mut Command) -> Outcome {
        let now = clock_gettime(ClockId::Boottime);
        let from = u64::try_from(now.tv_sec)? * 1_000_000_000 + u64::try_from(now.tv_nsec)?;
        run(command)?;
        self.until(|event| {
            matches!(event.kind, wire::EventKind::Attach | wire::EventKind::Fork)
                && event.boot_ns >= from
                && event.path.as_deref() == Some(&*container.cgroup)
        })
    }

    /// Pauses and resumes it. The kernel reports changes of v2's freezer, but not of v1's.
    pub fn pauses(
        &mut self,
        container: &Container,
        mut pause: impl FnMut() -> Outcome,
        mut resume: impl FnMut() -> Outcome,
    ) -> Outcome {
        pause()?;
        let mut by_v1 = false;
        if let Ok(freezer) = cgroup::mount("freezer") {
            let state = freezer.join(container.cgroup.trim_start_matches('/')).join("freezer.state");
            by_v1 = fs::read_to_string(state).is_ok_and(|state| state.trim() == "FROZEN");
        }
        let of = |kind: &'static str| {
            let name = container.cgroup.clone();
            move |event: &wire::Event| event.kind == kind && event.path.as_deref() == Some(&*name)
        };
        if !by_v1 {
            self.until(of("freeze"))?;
        }
        let exists = self.daemon.run(&["exists", "-q", &container.cgroup])?;
        ensure!(exists.status.code() == Some(0), "a paused container is absent: {exists:?}");
        resume()?;
        if !by_v1 {
            self.until(of("thaw"))?;
        }
        Ok(())
    }

    /// After the removal: none of its cgroups remains, and each was reported once as created and once as
    /// removed, with its runtime and id. `monitor`: a part of the names of cgroups that only supervise the
    /// container.
    pub fn removed(mut self, container: &Container, monitor: Option<&str>) -> Outcome {
        let wait = ["wait", &container.cgroup, "--until", "absent", "--timeout", "60s", "-q"];
        ensure!(self.daemon.run(&wait)?.status.success(), "{} remains", container.cgroup);
        for listed in self.daemon.client()?.list(&wire::List::default())? {
            let path = listed?.path.unwrap_or_default();
            let watches = monitor.is_some_and(|monitor| path.contains(monitor));
            ensure!(watches || !path.contains(&container.id), "{path} remains in the index");
        }
        let mark = Cgroup::new("v2", "mark")?;
        self.until(|event| event.kind == "mkdir" && event.path.as_deref() == Some(&*mark.name()))?;
        let mut instances: BTreeMap<(Option<u32>, Option<u64>), Vec<&str>> = BTreeMap::new();
        for event in &self.seen {
            let path = event.path.as_deref().unwrap_or_default();
            if !path.contains(&container.id) {
                continue;
            }
            let watches = monitor.is_some_and(|monitor| path.contains(monitor));
            let (id, runtime) = container.proof();
            ensure!(event.container_id.as_deref() == id.filter(|_| !watches), "{event:?}");
            ensure!(event.runtime.as_deref() == runtime, "{event:?}");
            if !watches && matches!(event.kind, wire::EventKind::Mkdir | wire::EventKind::Rmdir) {
                instances.entry((event.hierarchy_id, event.id)).or_default().push(event.kind.as_str());
            }
        }
        ensure!(!instances.is_empty(), "nothing of {} was reported", container.id);
        for (instance, kinds) in instances {
            ensure!(kinds == ["mkdir", "rmdir"], "{instance:?}: {kinds:?}");
        }
        self.daemon.verify()
    }

    /// Reads events until one matches.
    fn until(&mut self, wanted: impl Fn(&wire::Event) -> bool) -> Outcome {
        loop {
            let event = self.follower.next()?;
            let found = wanted(&event);
            self.seen.push(event);
            if found {
                return Ok(());
            }
        }
    }
}

/// An id as runtimes create them: 64 digits.
pub fn id() -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    Ok(format!("{:032x}{now:032x}", std::process::id()))
}

/// Runs a command, which must succeed, and returns its output.
pub fn run(command: &mut Command) -> Result<String> {
    // To files, not pipes: processes that a runtime leaves running keep its stderr open.
    let (out, err) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    command.stdin(Stdio::null()).stdout(out.reopen()?).stderr(err.reopen()?);
    let status = command.status().with_context(|| format!("failed to start {command:?}"))?;
    let (stdout, stderr) = (fs::read_to_string(out.path())?, fs::read_to_string(err.path())?);
    ensure!(status.success(), "{command:?}: {status}: {stdout}{stderr}");
    Ok(stdout.trim().to_owned())
}

/// Commands that stop the processes of a failed test.
#[derive(Default)]
pub struct Cleanup(pub Vec<Command>);

impl Drop for Cleanup {
    fn drop(&mut self) {
        for command in &mut self.0 {
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// A private daemon of a runtime, killed when dropped.
pub struct Background {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Background {
    pub fn start(program: &str, arguments: &[&str]) -> Result<Self> {
        let log = tempfile::NamedTempFile::new()?;
        let child = Command::new("setpriv")
            // A killed test leaves nothing running.
            .args(["--pdeathsig", "TERM", program])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.reopen()?)
            .stderr(log.reopen()?)
            .spawn()
            .with_context(|| format!("failed to start {program}"))?;
        Ok(Self { child, log })
    }

    /// Returns once a command succeeds, which shows that the daemon answers.
    pub fn ready(&mut self, probe: impl Fn() -> Command) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < Duration::from_mins(2) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended: {status}: {}", fs::read_to_string(self.log.path())?);
            }
            if run(&mut probe()).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("the daemon does not answer: {}", fs::read_to_string(self.log.path())?)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Top-level cgroups that a runtime does not remove: removed when dropped, unless they existed before.
struct Leftovers(Vec<PathBuf>);

impl Leftovers {
    fn of(names: &[&str]) -> Result<Self> {
        let mut new = Vec::new();
        for mount in discover()?.into_iter().filter_map(|found| found.mount) {
            new.extend(names.iter().map(|name| mount.path.join(name)).filter(|path| !path.exists()));
        }
        Ok(Self(new))
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for path in &self.0 {
            cgroup::remove_tree(path);
        }
    }
}

fn root_file_system(root: &Path) -> Outcome {
    for folder in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr", "var"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(lab::program("busybox")?, root.join("bin/busybox"))?;
    for applet in ["sh", "sleep", "true"] {
        symlink("busybox", root.join("bin").join(applet))?;
    }
    Ok(())
}
