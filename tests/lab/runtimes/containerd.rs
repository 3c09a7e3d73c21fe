//! A private containerd, controlled by ctr.

use std::{fs, path::Path, process::Command};

use super::scene::{Background, Cleanup, Container, Scene, id, run};
use crate::support::{Outcome, cgroup::unique, lab};

/// A container with the cgroup that containerd chooses (its namespace and the id), and one named like its CRI
/// plugin's. Only the latter's path proves the runtime.
pub fn containers() -> Outcome {
    let namespace = unique("containerd");
    let (one, other) = (id()?, id()?);
    let parent = unique("cri");
    container(
        &namespace,
        &[],
        &Container { cgroup: format!("/{namespace}/{one}"), id: one, runtime: None, proven: true },
    )?;
    // A scope proves a container only inside a slice.
    let cgroup = format!("/{parent}.slice/cri-containerd-{other}.scope");
    container(
        &namespace,
        &["--cgroup", &cgroup],
        &Container { cgroup: cgroup.clone(), id: other, runtime: Some("containerd"), proven: true },
    )
}

fn container(namespace: &str, options: &[&str], container: &Container) -> Outcome {
    lab::program("containerd")?;
    lab::program("runc")?;
    let parent = Path::new(&container.cgroup).parent().unwrap_or(Path::new("/"));
    let left = parent.strip_prefix("/").unwrap_or(parent).to_string_lossy().into_owned();
    let mut scene = Scene::new(&[&left])?;
    let folder = scene.folder().to_owned();
    let (socket, config) = (folder.join("containerd.sock"), folder.join("containerd.toml"));
    fs::write(
        &config,
        format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
             [grpc]\naddress = \"{}\"\n",
            folder.join("lib").display(),
            folder.join("run").display(),
            socket.display()
        ),
    )?;
    let ctr = |words: &[&str]| {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(&socket).args(["--namespace", namespace]).args(words);
        command
    };
    let mut containerd = Background::start("containerd", &["--config", &config.to_string_lossy()])?;
    containerd.ready(|| ctr(&["version"]))?;
    let id = &*container.id;
    let _cleanup = Cleanup(vec![ctr(&["task", "rm", "--force", id]), ctr(&["container", "rm", id])]);
    run(ctr(&["run", "--detach", "--rootfs"]).args(options).arg(scene.root()).args([
        id,
        "/bin/sleep",
        "1000",
    ]))?;
    scene.started(container)?;
    scene.executes(container, &mut ctr(&["task", "exec", "--exec-id", "one", id, "/bin/true"]))?;
    let ctr_run = |words: &[&str]| run(&mut ctr(words)).map(drop);
    scene.pauses(container, || ctr_run(&["task", "pause", id]), || ctr_run(&["task", "resume", id]))?;
    ctr_run(&["task", "rm", "--force", id])?;
    ctr_run(&["container", "rm", id])?;
    scene.removed(container, None)
}
