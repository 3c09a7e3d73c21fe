//! Independent witnesses: the kernel's own ftrace and fanotify report the same events. They share no code
//! with cgtrace's kernel program.

use std::{
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, any_v1_first, id, unique},
    daemon::Daemon,
    events::Follower,
    process::{Sleeper, put},
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("witnesses::ftrace_saw_the_same_in_the_same_order", ftrace),
        trial("witnesses::fanotify_saw_the_same_on_v2", || fanotify("v2")),
        trial("witnesses::fanotify_saw_the_same_on_v1", || fanotify("pids")),
    ]
}

/// Random enough, and reproducible.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Creates and removes at random below a cgroup, and renames on v1. Each name is used once.
fn churn(scope: &Path, rename: bool, steps: usize, seed: u64) -> Outcome {
    let mut random = Random(seed);
    let mut live: Vec<PathBuf> = Vec::new();
    for step in 0..steps {
        let fresh = |parent: &Path| parent.join(format!("{step}"));
        match random.below(if rename { 5 } else { 4 }) {
            0 | 1 => {
                let parent = match random.below(live.len() + 1).checked_sub(1) {
                    Some(number) => live[number].clone(),
                    None => scope.to_owned(),
                };
                let path = fresh(&parent);
                fs::create_dir(&path).with_context(|| path.display().to_string())?;
                live.push(path);
            }
            2 | 3 if !live.is_empty() => {
                let path = live[random.below(live.len())].clone();
                // A cgroup with children stays.
                if !live.iter().any(|other| *other != path && other.starts_with(&path)) {
                    fs::remove_dir(&path)?;
                    live.retain(|other| *other != path);
                }
            }
            4 if !live.is_empty() => {
                let from = live[random.below(live.len())].clone();
                let to = fresh(from.parent().context("no parent")?);
                fs::rename(&from, &to)?;
                for path in &mut live {
                    if let Ok(rest) = path.strip_prefix(&from) {
                        *path = if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) };
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// A private tracefs instance, removed when dropped.
struct Instance {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Instance {
    const EVENTS: [&str; 4] = ["cgroup_mkdir", "cgroup_rmdir", "cgroup_rename", "cgroup_attach_task"];

    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mounted = Command::new("mount").args(["-t", "tracefs", "none"]).arg(folder.path()).status()?;
        if !mounted.success() {
            return Err(skip("tracefs cannot be mounted here"));
        }
        let path = folder.path().join("instances").join(unique("ftrace"));
        let instance = Self { folder, path };
        if let Err(error) = fs::create_dir(&instance.path) {
            return Err(skip(format!("this kernel has no tracefs instances: {error}")));
        }
        let write = |file: &str, text: &str| {
            fs::write(instance.path.join(file), text).with_context(|| format!("failed to write {file}"))
        };
        write("buffer_size_kb", "8192")?;
        // One clock for all CPUs, so that the order across them is preserved.
        write("trace_clock", "boot")?;
        // Individually: some `rstat` events differ between kernels (KERNEL T25).
        for event in Self::EVENTS {
            write(&format!("events/cgroup/{event}/enable"), "1")?;
        }
        Ok(instance)
    }

    /// The events that it saw, oldest first: kind, id, path.
    fn read(&self) -> Result<Vec<(String, u64, String)>> {
        for event in Self::EVENTS {
            fs::write(self.path.join(format!("events/cgroup/{event}/enable")), "0")?;
        }
        let trace = fs::read(self.path.join("trace"))?;
        let trace = String::from_utf8_lossy(&trace).into_owned();
        let mut seen = Vec::new();
        for line in trace.lines().filter(|line| !line.starts_with('#')) {
            if line.contains("LOST") {
                bail!("ftrace itself lost events: {line}");
            }
            let Some((_, record)) = line.split_once(": cgroup_") else { continue };
            let (kind, fields) = record.split_once(": ").context("no fields")?;
            let field =
                |name: &str| fields.split_once(name).map(|(_, rest)| rest.split(' ').next().unwrap_or(""));
            let (id, path) = match kind {
                "attach_task" => (field("dst_id="), field("dst_path=")),
                _ => (field(" id="), field(" path=")),
            };
            let kind = kind.trim_end_matches("_task").to_owned();
            seen.push((kind, id.context("no id")?.parse()?, path.context("no path")?.to_owned()));
        }
        Ok(seen)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

fn ftrace() -> Outcome {
    let steps = crate::support::rounds(4_000);
    // v2 has no rename.
    let renames = any_v1_first() != "v2";
    let scopes = [Cgroup::new(any(), "ftrace")?, Cgroup::new(any_v1_first(), "ftrace")?];
    let daemon = Daemon::start()?;
    let mut follower = Follower::start(
        &daemon,
        &wire::Watch {
            patterns: Some(scopes.iter().map(Cgroup::name).collect()),
            kinds: Some(["mkdir", "rmdir", "rename", "attach"].map(str::to_owned).to_vec()),
            ..wire::Watch::default()
        },
    )?;
    let instance = Instance::new()?;
    let sleeper = Sleeper::start()?;
    std::thread::scope(|threads| -> Outcome {
        let churns: Vec<_> = scopes
            .iter()
            .enumerate()
            .map(|(number, scope)| {
                threads.spawn(move || churn(scope.path(), renames && number == 1, steps, number as u64 + 1))
            })
            .collect();
        for _ in 0..100 {
            for scope in &scopes {
                put(scope.path(), "cgroup.procs", sleeper.pid())?;
            }
        }
        for churn in churns {
            churn.join().map_err(|_| anyhow::anyhow!("a churn panicked"))??;
        }
        Ok(())
    })?;
    let end = scopes[0].join("end");
    fs::create_dir(&end)?;
    let theirs: Vec<_> = instance
        .read()?
        .into_iter()
        .filter(|(_, _, path)| {
            scopes.iter().any(|scope| {
                path.strip_prefix(&scope.name()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        })
        .collect();
    let mut ours = follower.until_made(&scopes[0].name_of(&end))?;
    ours.push(wire::Event {
        kind: wire::EventKind::Mkdir,
        id: Some(id(&end)?),
        path: Some(scopes[0].name_of(&end)),
        ..wire::Event::default()
    });
    let ours: Vec<_> = ours
        .into_iter()
        .map(|event| (String::from(event.kind), event.id.unwrap_or(0), event.path.unwrap_or_default()))
        .collect();
    ensure!(theirs.len() > steps, "ftrace saw {} events only", theirs.len());
    for kind in ["mkdir", "rmdir", "rename", "attach"] {
        let seen = theirs.iter().any(|(other, ..)| other == kind);
        ensure!(seen || (kind == "rename" && !renames), "no {kind} among what ftrace saw");
    }
    if let Some(at) = theirs.iter().zip(&ours).position(|(theirs, ours)| theirs != ours) {
        bail!("event {at}: ftrace saw {:?}, cgtrace reported {:?}", theirs[at], ours[at]);
    }
    ensure!(
        theirs.len() == ours.len(),
        "ftrace saw {} events, cgtrace reported {}",
        theirs.len(),
        ours.len()
    );
    Ok(())
}

/// fanotify's record of a directory: its parent's id, its name, and whether it was created or removed. It
/// merges the events of one name and then loses their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    parent: u64,
    name: Vec<u8>,
    created: bool,
}

struct Fanotify(OwnedFd);

impl Fanotify {
    fn new(mount: &Path) -> Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_REPORT_DFID_NAME
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE;
        // SAFETY: no memory is passed.
        let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY.unsigned_abs()) };
        if fd < 0 {
            return Err(skip(format!("fanotify has no names here: {}", std::io::Error::last_os_error())));
        }
        // SAFETY: the descriptor is new and ours.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let path = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(mount.as_os_str()))?;
        // SAFETY: the path is a NUL-terminated string that outlives the call.
        let marked = unsafe {
            libc::fanotify_mark(
                fd.as_raw_fd(),
                libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM,
                libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_ONDIR,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        };
        if marked < 0 {
            // kernfs has had a file system id only since about 6.6.
            return Err(skip(format!(
                "this cgroupfs supports no fanotify mark: {}",
                std::io::Error::last_os_error()
            )));
        }
        Ok(Self(fd))
    }

    fn drain(&self, seen: &mut Vec<Seen>) -> Outcome {
        let mut buffer = vec![0_u8; 256 << 10];
        loop {
            let length = match rustix::io::read(&self.0, &mut buffer) {
                Ok(length) => length,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                // struct fanotify_event_metadata: event_len, vers, reserved, metadata_len, mask, fd, pid.
                let event_length = number(rest, 0, 4)?;
                let metadata_length = number(rest, 6, 2)?;
                let mask = number(rest, 8, 8)? as u64;
                let (event, after) = rest.split_at_checked(event_length).context("a short event")?;
                rest = after;
                ensure!(mask & libc::FAN_Q_OVERFLOW == 0, "fanotify itself lost events");
                // struct fanotify_event_info_fid: type, pad, len, fsid (8), handle_bytes (4), handle_type
                // (4), id.
                let info = event.get(metadata_length..).context("no information")?;
                let parent = number(info, 20, 8)? as u64;
                let name = info.get(28..number(info, 2, 2)?).context("no name")?;
                let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
                for (bit, created) in [(libc::FAN_CREATE, true), (libc::FAN_DELETE, false)] {
                    if mask & bit != 0 {
                        seen.push(Seen { parent, name: name.clone(), created });
                    }
                }
            }
        }
    }
}

fn number(bytes: &[u8], at: usize, length: usize) -> Result<usize> {
    let bytes = bytes.get(at..at + length).context("a short record")?;
    let mut whole = [0; 8];
    whole[..length].copy_from_slice(bytes);
    Ok(usize::try_from(u64::from_le_bytes(whole))?)
}

fn fanotify(hierarchy: &str) -> Outcome {
    const STEPS: usize = 4_000;
    let scope = Cgroup::new(hierarchy, "fanotify")?;
    let daemon = Daemon::start()?;
    let mut follower = Follower::below(&daemon, &scope.name(), &["mkdir", "rmdir"])?;
    let witness = Fanotify::new(&crate::support::cgroup::mount(hierarchy)?)?;
    churn(scope.path(), false, STEPS, 7)?;
    let end = scope.join("end");
    fs::create_dir(&end)?;
    let mut theirs = Vec::new();
    witness.drain(&mut theirs)?;
    let events = follower.until_made(&scope.name_of(&end))?;
    // Ids by path, from the events; each path is used once.
    let mut ids = std::collections::HashMap::from([(scope.name(), scope.id()?)]);
    let mut ours = Vec::new();
    for event in &events {
        let path = event.path.clone().context("no path")?;
        if event.kind == "mkdir" {
            ids.insert(path.clone(), event.id.context("no id")?);
        }
        let (parent, name) = path.rsplit_once('/').context("no parent")?;
        let parent = *ids.get(parent).context("an unknown parent")?;
        ours.push(Seen { parent, name: name.as_bytes().to_vec(), created: event.kind == "mkdir" });
    }
    // Changes by others elsewhere on this hierarchy are not compared.
    let known: std::collections::HashSet<u64> = ids.into_values().collect();
    theirs.retain(|seen| known.contains(&seen.parent) && seen.name != b"end");
    ours.sort();
    theirs.sort();
    ensure!(ours.len() > STEPS / 2, "{} events only", ours.len());
    ensure!(ours == theirs, "cgtrace reported {} events, fanotify saw {}", ours.len(), theirs.len());
    Ok(())
}
