//! What the document tells of, brought about under names of ours, and the daemons that are asked about it.

use std::{
    cell::OnceCell,
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::{document::Example, shape};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount, unique},
    daemon::{Daemon, open_folder, program},
    fake::Fake,
    process::put,
    raw::Raw,
    skip,
};

/// Processes called kubelet may run here, of other tests too: the document's unit is to have none.
const UNIT: &str = "cgt-kubelet.service";

/// As many cgroups as `List` puts into one reply.
const BATCH: usize = 500;

/// One slice an example, and daemons that began after them.
pub struct Stage {
    slices: Vec<Cgroup>,
    daemon: Daemon,
    /// It keeps little.
    forgetful: OnceCell<Daemon>,
    /// It watches no process name.
    unwatching: OnceCell<(tempfile::TempDir, Daemon)>,
    /// In a mount namespace of its own.
    apart: OnceCell<Daemon>,
}

fn made<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if cell.get().is_none() {
        let _ = cell.set(make()?);
    }
    cell.get().context("not made")
}

fn unwatching() -> Result<(tempfile::TempDir, Daemon)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("cgtrace.toml");
    fs::write(&file, "track-exec = []\n")?;
    let daemon = Daemon::start_with(&["--config", file.to_str().context("a temporary path")?])?;
    Ok((folder, daemon))
}

fn apart() -> Result<Daemon> {
    let folder = open_folder()?;
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private"]).arg(program().get_program());
    command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
    let mut daemon = Daemon::spawn_by(command.env("CGTRACE_LOG", "warn"), folder)?;
    daemon.wait_ready()?;
    Ok(daemon)
}

impl Stage {
    pub fn set(examples: usize) -> Result<Self> {
        let point = mount("v2")?;
        let slice = |_| {
            let slice = Cgroup::at(&point, &format!("{}.slice", unique("protocol")))?;
            fs::create_dir(slice.join("dbus.service"))?;
            Ok(slice)
        };
        Ok(Self {
            slices: (0..examples).map(slice).collect::<Result<_>>()?,
            daemon: Daemon::start()?,
            forgetful: OnceCell::new(),
            unwatching: OnceCell::new(),
            apart: OnceCell::new(),
        })
    }

    /// Makes an example's call and holds its replies to what is answered; `number` is that of its slice.
    pub fn hold(&self, example: &Example, number: usize) -> Outcome {
        let slice = &self.slices[number];
        let example = ours(example, slice)?;
        let scene = Scene { slice, example: &example };
        let daemon = if scene.shows(|reply| reply.pointer("/parameters/dropped").is_some()) {
            made(&self.forgetful, || {
                Daemon::start_with(&[
                    "--max-recent-bytes",
                    "2000",
                    "--max-queued-bytes-per-subscriber",
                    "2000",
                ])
            })?
        } else if scene.shows(|reply| reply.to_string().contains("no comm is tracked")) {
            &made(&self.unwatching, unwatching)?.1
        } else if scene.shows(|reply| reply.pointer("/parameters/differences/0").is_some()) {
            made(&self.apart, apart)?
        } else {
            &self.daemon
        };
        scene.play(daemon).with_context(|| format!("{}: {}", slice.name(), example.call))
    }
}

/// The same with our names.
fn ours(example: &Example, slice: &Cgroup) -> Result<Example> {
    let rename = |message: &Value| -> Result<Value> {
        let text = message.to_string().replace("system.slice", slice.name().trim_start_matches('/'));
        Ok(serde_json::from_str(&text.replace("kubelet.service", UNIT))?)
    };
    let replies = example.replies.iter().map(rename).collect::<Result<_>>()?;
    Ok(Example { call: rename(&example.call)?, replies })
}

/// One example's story.
struct Scene<'a> {
    slice: &'a Cgroup,
    example: &'a Example,
}

impl Scene<'_> {
    fn shows(&self, what: impl Fn(&Value) -> bool) -> bool {
        self.example.replies.iter().any(what)
    }

    fn asks(&self, method: &str) -> bool {
        self.example.call["method"] == *method
    }

    fn make_unit(&self) -> Outcome {
        Ok(fs::create_dir(self.slice.join(UNIT))?)
    }

    fn play(&self, daemon: &Daemon) -> Outcome {
        let Example { call, replies } = self.example;
        let mut call = call.clone();
        // Both have lived before. Where this slice is played in again, one is still there.
        let _ = fs::remove_dir(self.slice.join(UNIT));
        for name in [UNIT, "backup.service"] {
            fs::create_dir(self.slice.join(name))?;
            fs::remove_dir(self.slice.join(name))?;
        }
        // An observer is there before what it asks for.
        let mut observer = None;
        if let Some(pid) = call.pointer_mut("/parameters/observer/pid") {
            let flag = format!("--kubelet-cgroups={}", self.slice.name_of(&self.slice.join(UNIT)));
            // /proc tells the start of a process in steps of 10 ms: it is to be clear that it was after the last instance's end.
            thread::sleep(Duration::from_millis(30));
            let kubelet = Fake::start("kubelet", "1", &[&flag, "--cgroups-per-qos=false"])?;
            *pid = kubelet.pid().into();
            observer = Some(kubelet);
        }
        let waits =
            self.asks("io.cgtrace.Wait") && self.shows(|reply| reply["parameters"]["reached"] == true);
        let told = self.shows(|reply| reply.pointer("/parameters/event").is_some());
        if !waits && !told {
            self.make_unit()?;
        }
        if self.asks("io.cgtrace.History") {
            let kubelet = observer.insert(Fake::start("kubelet", "1", &[])?);
            put(&self.slice.join(UNIT), "cgroup.procs", kubelet.pid())?;
        }
        if self.asks("io.cgtrace.List") && replies.len() > 1 {
            for number in 0..BATCH {
                fs::create_dir(self.slice.join(format!("job-{number}.service")))?;
            }
        }
        if self.shows(|reply| reply.pointer("/parameters/differences/0").is_some()) {
            self.cover(daemon)?;
        }
        if call.pointer("/parameters/since_seq").is_some() {
            // More than the daemon keeps.
            for _ in 0..10 {
                fs::create_dir(self.slice.join("kept"))?;
                fs::remove_dir(self.slice.join("kept"))?;
            }
        }
        let mut raw = Raw::new(daemon.stream()?);
        raw.send(&call)?;
        if waits {
            until("it waits", || Ok(daemon.client()?.status()?.waiters > 0))?;
            self.make_unit()?;
        }
        if replies.is_empty() {
            let said = raw.receive()?;
            ensure!(said.get("error").is_none(), "{said}");
        }
        for (number, shown) in replies.iter().enumerate() {
            let parameters = &shown["parameters"];
            if parameters.get("event").is_some() {
                ensure!(parameters["event"]["kind"] == "mkdir", "nothing here brings about {shown}");
                self.make_unit()?;
            }
            let said = if parameters.get("dropped").is_some() && parameters.get("seq").is_none() {
                self.miss(daemon, &mut raw)?
            } else {
                raw.receive()?
            };
            shape::alike(shown, &said, &format!("reply{number}")).with_context(|| said.to_string())?;
        }
        drop(observer);
        Ok(())
    }

    /// Makes cgroups until the subscriber, who does not read, has missed some; the reply that says so.
    fn miss(&self, daemon: &Daemon, subscriber: &mut Raw) -> Result<Value> {
        let mut other = Raw::new(daemon.stream()?);
        let flood = self.slice.join("flood");
        until("something is missed", || {
            for _ in 0..200 {
                fs::create_dir(&flood)?;
                fs::remove_dir(&flood)?;
            }
            let said = other.call(&json!({"method": "io.cgtrace.Metrics"}))?;
            let text = said["parameters"]["text"].as_str().context("no text")?;
            let count =
                text.lines().find_map(|line| line.strip_prefix("cgtrace_subscriber_dropped_events_total "));
            Ok(count.context("not counted")? != "0")
        })?;
        loop {
            let said = subscriber.receive()?;
            if said["parameters"].get("event").is_none() {
                return Ok(said);
            }
        }
    }

    /// Puts another file system over the slice, for that daemon alone: what is below cannot be seen there any more.
    fn cover(&self, daemon: &Daemon) -> Outcome {
        fs::remove_dir(self.slice.join("dbus.service"))?;
        daemon.verify()?;
        let covered = Command::new("nsenter")
            .args(["-m", "-t", &daemon.pid().to_string(), "mount", "-t", "tmpfs", "none"])
            .arg(self.slice.path())
            .output()
            .map_err(|error| skip(format!("nsenter is missing: {error}")))?;
        ensure!(covered.status.success(), "{covered:?}");
        Ok(())
    }
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Outcome {
    let start = Instant::now();
    while start.elapsed() < Duration::from_mins(2) {
        if holds()? {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(2));
    }
    bail!("waited in vain until {what}")
}
