//! A private dockerd, without a network: `/docker/ID`.

use std::process::Command;

use super::scene::{Background, Cleanup, Container, Scene, run};
use crate::support::{Outcome, cgroup::unique, lab};

pub fn container() -> Outcome {
    lab::program("dockerd")?;
    lab::program("docker")?;
    let mut scene = Scene::new(&["docker"])?;
    let folder = scene.folder().to_owned();
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let host = format!("unix://{}", at("docker.sock"));
    let docker = |words: &[&str]| {
        let mut command = Command::new("docker");
        command.env("HOME", &folder).args(["--host", &host]).args(words);
        command
    };
    let mut dockerd = Background::start(
        "dockerd",
        &[
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--bridge=none",
            "--storage-driver=vfs",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--data-root",
            &at("lib"),
            "--exec-root",
            &at("run"),
            "--pidfile",
            &at("pid"),
            "--host",
            &host,
        ],
    )?;
    dockerd.ready(|| docker(&["version"]))?;
    let archive = at("root.tar");
    run(Command::new("tar").arg("-C").arg(scene.root()).args(["-cf", &archive, "."]))?;
    let image = run(&mut docker(&["import", &archive]))?;
    let name = unique("docker");
    let _cleanup = Cleanup(vec![docker(&["rm", "--force", &name])]);
    // The limits of this process: it may lack the right to raise them.
    let id =
        run(docker(&["run", "--detach", "--name", &name, "--network=none", "--ulimit=nofile=1024:1024"])
            .args([&*image, "/bin/sleep", "1000"]))?;
    let container = Container { cgroup: format!("/docker/{id}"), id, runtime: Some("docker"), proven: true };
    scene.started(&container)?;
    scene.executes(&container, &mut docker(&["exec", &name, "/bin/true"]))?;
    let docker_run = |words: &[&str]| run(&mut docker(words)).map(drop);
    scene.pauses(&container, || docker_run(&["pause", &name]), || docker_run(&["unpause", &name]))?;
    docker_run(&["rm", "--force", &name])?;
    scene.removed(&container, None)
}
