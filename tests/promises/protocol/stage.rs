//! Sets up the situations of the document with the test's own paths, and the daemons that are queried.

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

/// A separate name, because other tests may run processes called kubelet: the document's unit must have none.
const UNIT: &str = "cgt-kubelet.service";

/// The number of cgroups that `List` puts into one reply.
const BATCH: usize = 500;

/// One slice per example, and daemons that start after their creation.
pub struct Stage {
    slices: Vec<Cgroup>,
    daemon: Daemon,
    /// It retains little.
    forgetful: OnceCell<Daemon>,
    /// It tracks no comm.
    unwatching: OnceCell<(tempfile::TempDir, Daemon)>,
    /// In a private mount namespace.
    apart: OnceCell<Daemon>,
}

fn started<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if cell.get().is_none() {
        let _ = cell.set(make()?);
    }
    cell.get().context("not started")
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

    /// Makes an example's call and compares the replies; `number` selects its slice.
    pub fn check(&self, example: &Example, number: usize) -> Outcome {
        let slice = &self.slices[number];
        let example = ours(example, slice)?;
        let scene = Scene { slice, example: &example };
        let misses = |reply: &Value| {
            ["/parameters/dropped", "/parameters/gap"].iter().any(|member| reply.pointer(member).is_some())
        };
        let daemon = if scene.shows(misses) {
            started(&self.forgetful, || {
                Daemon::start_with(&["--history-size", "1", "--max-queued-bytes-per-subscriber", "2000"])
            })?
        } else if scene.shows(|reply| reply.to_string().contains("no comm is tracked")) {
            &started(&self.unwatching, unwatching)?.1
        } else if scene.shows(|reply| reply.pointer("/parameters/differences/0").is_some()) {
            started(&self.apart, apart)?
        } else {
            &self.daemon
        };
        scene.play(daemon).with_context(|| format!("{}: {}", slice.name(), example.call))
    }
}

/// The example with the test's paths.
fn ours(example: &Example, slice: &Cgroup) -> Result<Example> {
    let rename = |message: &Value| -> Result<Value> {
        let text = message.to_string().replace("system.slice", slice.name().trim_start_matches('/'));
        Ok(serde_json::from_str(&text.replace("kubelet.service", UNIT))?)
    };
    let replies = example.replies.iter().map(rename).collect::<Result<_>>()?;
    Ok(Example { call: rename(&example.call)?, replies })
}

/// The steps of one example.
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
        // Both existed before. If an earlier example used this slice, one is still there.
        let _ = fs::remove_dir(self.slice.join(UNIT));
        for name in [UNIT, "backup.service"] {
            fs::create_dir(self.slice.join(name))?;
            fs::remove_dir(self.slice.join(name))?;
        }
        // An observer starts before the unit that it looks for.
        let mut observer = None;
        if let Some(pid) = call.pointer_mut("/parameters/observer/pid") {
            let flag = format!("--kubelet-cgroups={}", self.slice.name_of(&self.slice.join(UNIT)));
            // /proc shows start times in steps of 10 ms: the process must clearly have started after the last
            // removal.
            thread::sleep(Duration::from_millis(30));
            let kubelet = Fake::start("kubelet", "1", &[&flag, "--cgroups-per-qos=false"])?;
            *pid = kubelet.pid().into();
            observer = Some(kubelet);
        }
        let waits =
            self.asks("io.cgtrace.Wait") && self.shows(|reply| reply["parameters"]["reached"] == true);
        let streams = self.shows(|reply| reply.pointer("/parameters/event").is_some());
        if !waits && !streams {
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
            // More than the daemon retains.
            for _ in 0..10 {
                fs::create_dir(self.slice.join("recent"))?;
                fs::remove_dir(self.slice.join("recent"))?;
            }
        }
        let mut raw = Raw::new(daemon.stream()?);
        raw.send(&call)?;
        if waits {
            until("the call waits", || Ok(daemon.client()?.status()?.waiters > 0))?;
            self.make_unit()?;
        }
        if replies.is_empty() {
            let reply = raw.receive()?;
            ensure!(reply.get("error").is_none(), "{reply}");
        }
        for (number, shown) in replies.iter().enumerate() {
            let parameters = &shown["parameters"];
            if parameters.get("event").is_some() {
                ensure!(parameters["event"]["kind"] == "mkdir", "this test cannot cause {shown}");
                self.make_unit()?;
            }
            let reply = if parameters.get("dropped").is_some() && parameters.get("seq").is_none() {
                self.overflow(daemon, &mut raw)?
            } else {
                raw.receive()?
            };
            shape::alike(shown, &reply, &format!("reply{number}")).with_context(|| reply.to_string())?;
        }
        drop(observer);
        Ok(())
    }

    /// Creates cgroups until the subscriber, which does not read, has dropped some; returns the reply that
    /// reports it.
    fn overflow(&self, daemon: &Daemon, subscriber: &mut Raw) -> Result<Value> {
        let mut other = Raw::new(daemon.stream()?);
        let flood = self.slice.join("flood");
        until("an event is dropped", || {
            for _ in 0..200 {
                fs::create_dir(&flood)?;
                fs::remove_dir(&flood)?;
            }
            let reply = other.call(&json!({"method": "io.cgtrace.Metrics"}))?;
            let text = reply["parameters"]["text"].as_str().context("no text")?;
            let count =
                text.lines().find_map(|line| line.strip_prefix("cgtrace_subscriber_dropped_events_total "));
            Ok(count.context("not counted")? != "0")
        })?;
        loop {
            let reply = subscriber.receive()?;
            if reply["parameters"].get("event").is_none() {
                return Ok(reply);
            }
        }
    }

    /// Mounts another file system over the slice, for that daemon only, so that it cannot see the cgroups
    /// below.
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
