//! cgtrace, a recursive inotify watcher and cAdvisor under the same load: what each sees and misses, and how
//! fast.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cgtrace_client::wire;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::why::Scene;
use crate::support::{
    Outcome,
    cadvisor::Cadvisor,
    captured,
    cgroup::{Cgroup, mount},
    clock::boot_ns,
    daemon::Daemon,
    events::Follower,
    inotify::{Seen, Watcher},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("beside::what_each_watcher_sees_of_one_load", what_each_watcher_sees),
        trial("beside::the_outage", the_outage),
    ]
}

/// A way of creating cgroups.
struct Load {
    hierarchy: &'static str,
    what: &'static str,
    run: fn(&Path) -> anyhow::Result<Vec<PathBuf>>,
}

const LOADS: [Load; 5] = [
    Load { hierarchy: "memory", what: "side by side", run: |root| beside(root, false) },
    Load { hierarchy: "memory", what: "three nested at once", run: nested },
    Load { hierarchy: "memory", what: "removed at once", run: |root| beside(root, true) },
    Load { hierarchy: "name=systemd", what: "side by side", run: |root| beside(root, false) },
    Load { hierarchy: "v2", what: "side by side", run: |root| beside(root, false) },
];

fn beside(root: &Path, remove: bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut created = Vec::new();
    for number in 0..90 {
        let path = root.join(number.to_string());
        fs::create_dir(&path)?;
        if remove {
            fs::remove_dir(&path)?;
        }
        created.push(path);
    }
    Ok(created)
}

fn nested(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut created = Vec::new();
    for number in 0..30 {
        let mut path = root.join(number.to_string());
        for leaf in ["", "b", "c"] {
            path = path.join(leaf);
            fs::create_dir(&path)?;
            created.push(path.clone());
        }
    }
    Ok(created)
}

/// The number of a load's cgroups that a watcher saw, and the delays in ms.
#[derive(Default)]
struct Score(Vec<f64>);

impl Score {
    fn row(&mut self) -> String {
        self.0.sort_by(f64::total_cmp);
        match (self.0.get(self.0.len() / 2), self.0.last()) {
            (Some(median), Some(longest)) => format!("{} ({median:.1} ms, {longest:.1} ms)", self.0.len()),
            _ => "0".to_owned(),
        }
    }
}

fn what_each_watcher_sees() -> Outcome {
    let mut cadvisor = Cadvisor::spawn()?;
    let daemon = Daemon::start()?;
    cadvisor.wait_ready()?;
    let mut table = String::from(
        "| hierarchy | load | created | cgtrace | recursive inotify | cAdvisor |\n|---|---|---|---|---|---|\n",
    );
    for load in &LOADS {
        let scope = Cgroup::new(load.hierarchy, "beside")?;
        let watcher = Watcher::start(&[scope.path().to_owned()])?;
        let end = format!("{}/end", scope.name());
        let mut follower = Follower::below(&daemon, &scope.name(), &["mkdir", "rmdir"])?;
        let follower = thread::spawn({
            let end = end.clone();
            move || -> anyhow::Result<Vec<(wire::Event, u64)>> {
                let mut events = Vec::new();
                loop {
                    let event = follower.next()?;
                    if event.path.as_ref() == Some(&end) {
                        return Ok(events);
                    }
                    events.push((event, boot_ns()));
                }
            }
        });
        let created = (load.run)(scope.path())?;
        fs::create_dir(scope.join("end"))?;
        let events = follower.join().map_err(|_| anyhow::anyhow!("the follower panicked"))??;
        settle(&cadvisor)?;
        let inotify: Seen = watcher.stop()?;
        let reported_by_cadvisor = cadvisor.created()?;

        let (mut ours, mut theirs, mut monitors) = (Score::default(), Score::default(), Score::default());
        for path in &created {
            let name = scope.name_of(path);
            let of = |kind: &str| {
                let mut found = events
                    .iter()
                    .filter(|(event, _)| event.kind == kind && event.path.as_deref() == Some(&*name));
                (found.next(), found.next().is_some())
            };
            let (created_event, twice) = of("mkdir");
            let (event, reported_at) = created_event.with_context(|| format!("cgtrace missed {name}"))?;
            ensure!(!twice, "{name} was reported twice");
            ensure!(path.exists() || of("rmdir").0.is_some(), "cgtrace missed the removal of {name}");
            ours.0.push(ms(reported_at.saturating_sub(event.boot_ns)));
            if let Some(seen) = inotify.get(path) {
                theirs.0.push(ms(seen.saturating_sub(event.boot_ns)));
            }
            if let Some(seen) = reported_by_cadvisor.get(&name) {
                let seen = seen.parse::<jiff::Timestamp>()?.as_nanosecond();
                let seen = wire::Timestamp::from_unix_ns(seen, 0).time;
                let between = match seen.duration_since(event.time) {
                    Ok(after) => after.as_secs_f64(),
                    Err(before) => -before.duration().as_secs_f64(),
                };
                monitors.0.push(between * 1000.0);
            }
        }
        table += &format!(
            "| '{}' | {} | {} | {} | {} | {} |\n",
            load.hierarchy,
            load.what,
            created.len(),
            ours.row(),
            theirs.row(),
            monitors.row()
        );
    }
    println!("\n{table}");
    captured::keep("beside", &table)?;
    daemon.verify()
}

fn ms(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64() * 1000.0
}

/// Waits until cAdvisor has reported nothing new for a while.
fn settle(cadvisor: &Cadvisor) -> anyhow::Result<()> {
    let (mut count, mut since) = (cadvisor.created()?.len(), Instant::now());
    while since.elapsed() < Duration::from_millis(600) {
        thread::sleep(Duration::from_millis(100));
        let now = cadvisor.created()?.len();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    Ok(())
}

/// The outage that started the project: cAdvisor has no container with the unit's name. First because the
/// kubelet was started from a shell, then, after the obvious fix, because no accounting is enabled for the
/// unit.
fn the_outage() -> Outcome {
    let mut cadvisor = Cadvisor::spawn()?;
    let scene = Scene::new()?;
    cadvisor.wait_ready()?;
    let unknown = format!("unknown container \"{}\"", scene.name);
    let observer = cadvisor.pid().to_string();
    let mut story = String::new();
    let mut check = |cause: Cause, capture: &str| -> Outcome {
        let response = cadvisor.container(&scene.name)?;
        ensure!(response.contains(&unknown), "cAdvisor has the container: {response}");
        let verdict = scene.why_with(&["--pid", &observer], capture)?;
        ensure!(verdict.cause == cause, "{verdict:?}");
        story += &format!("cAdvisor: {response}\n\n{}\n", captured::kept(capture)?);
        Ok(())
    };
    let shell = scene.start_from_shell()?;
    check(Cause::StartedOutsideSystemd, "outage-shell")?;
    shell.end(&scene.systemd)?;
    scene.systemd.run(&["systemctl", "start", "kubelet.service"])?;
    check(Cause::PresentElsewhere, "outage-unit")?;
    // The cgroup that MemoryAccounting= would create. systemd itself cannot: v1 controllers are read-only in
    // its container.
    let memory = mount("memory")?;
    let _base = Cgroup::at(&memory, scene.systemd.base().trim_start_matches('/'))?;
    fs::create_dir_all(memory.join(&scene.name[1..]))?;
    settle(&cadvisor)?;
    let response = cadvisor.container(&scene.name)?;
    ensure!(response.starts_with('{'), "cAdvisor still has no such container: {response}");
    captured::keep("outage", &story)
}
