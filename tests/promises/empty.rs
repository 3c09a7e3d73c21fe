//! `list --empty` lists the cgroups without a process in them and below, by the authority of the caller.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire::ListReply;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, both},
    confined,
    daemon::{Daemon, program},
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("empty::slices_that_were_left_are_listed", left),
        trial("empty::an_ordinary_user_reads_it_from_cgroupfs", ordinary),
        trial("empty::only_the_present_can_be_empty", present),
    ]
}

/// A cgroup with a process in `busy/inner`, and with `left/deep` and `leaf`, which are empty.
struct Scene {
    top: Cgroup,
    sleeper: Sleeper,
}

impl Scene {
    fn new(hierarchy: &str) -> Result<Self> {
        let top = Cgroup::new(hierarchy, "empty")?;
        for below in ["busy", "busy/inner", "busy/leaf", "left", "left/deep", "leaf"] {
            fs::create_dir(top.join(below))?;
        }
        let sleeper = Sleeper::start()?;
        put(&top.join("busy/inner"), "cgroup.procs", sleeper.pid())?;
        Ok(Self { top, sleeper })
    }

    fn paths(&self, below: &[&str]) -> Vec<String> {
        below.iter().map(|below| self.top.name_of(&self.top.join(below))).collect()
    }
}

/// The sorted paths that a command lists.
fn listed(command: &mut Command, arguments: &[&str]) -> Result<Vec<String>> {
    let output = command.args(["--json", "list", "--empty"]).args(arguments).output()?;
    let reply: ListReply = serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
    let mut paths: Vec<String> = reply.cgroups.into_iter().filter_map(|cgroup| cgroup.path).collect();
    ensure!(output.status.code() == Some(i32::from(paths.is_empty())), "{output:?}");
    paths.sort();
    Ok(paths)
}

fn left() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in both() {
        let scene = Scene::new(hierarchy)?;
        let name = scene.top.name();
        let empty = scene.paths(&["busy/leaf", "leaf", "left", "left/deep"]);
        let arguments = [name.as_str(), "-H", hierarchy];
        ensure!(listed(&mut daemon.command(), &arguments)? == empty, "{hierarchy}");
        // A pattern may leave out the descendants that have the process.
        let pattern = format!("{name}/*");
        let top_level = scene.paths(&["leaf", "left"]);
        ensure!(listed(&mut daemon.command(), &[&pattern, "-H", hierarchy])? == top_level, "{hierarchy}");
        let Scene { top, sleeper } = scene;
        let inner = top.name_of(&top.join("busy/inner"));
        ensure!(listed(&mut daemon.command(), &[&inner, "-H", hierarchy])?.is_empty());
        drop(sleeper);
        daemon.client()?.wait(&name, cgtrace_client::CgroupState::Empty, None)?;
        ensure!(listed(&mut daemon.command(), &arguments)?.len() == 7, "{hierarchy}");
        drop(top);
    }
    Ok(())
}

fn ordinary() -> Outcome {
    let daemon = Daemon::start()?;
    let folder = confined::folder()?;
    for hierarchy in both() {
        let scene = Scene::new(hierarchy)?;
        let empty = scene.paths(&["busy/leaf", "leaf", "left", "left/deep"]);
        for runtime_dir in [daemon.runtime_dir().path(), folder.path()] {
            let mut command = confined::client(folder.path(), &[]);
            command.arg("--runtime-dir").arg(runtime_dir);
            ensure!(listed(&mut command, &[&scene.top.name(), "-H", hierarchy])? == empty, "{hierarchy}");
        }
    }
    Ok(())
}

fn present() -> Outcome {
    for other in [&["--removed"][..], &["--at", "1m"], &["--history", "/nonexistent"]] {
        let output = program().args(["list", "--empty"]).args(other).output()?;
        ensure!(output.status.code() == Some(2), "{other:?}: {output:?}");
    }
    let daemon = Daemon::start()?;
    let none = daemon.run(&["list", "--empty", "/cgtrace-test-none"])?;
    let stderr = String::from_utf8_lossy(&none.stderr).into_owned();
    ensure!(none.status.code() == Some(1) && stderr.contains("no empty cgroup matches"), "{none:?}");
    Ok(())
}
