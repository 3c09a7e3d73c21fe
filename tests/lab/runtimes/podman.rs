//! Podman with runc and its own cgroups (no systemd): `/libpod_parent/libpod-ID`.

use std::process::Command;

use super::scene::{Cleanup, Container, Scene, run};
use crate::support::{Outcome, cgroup::unique, lab};

pub fn container() -> Outcome {
    lab::program("podman")?;
    lab::program("runc")?;
    let mut scene = Scene::new(&["libpod_parent"])?;
    let (folder, root) = (scene.folder().join("podman"), scene.root());
    let podman = |words: &[&str]| {
        let mut command = Command::new("podman");
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(folder.join(name));
        }
        command.args(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--runtime=runc"]);
        command.arg("--events-backend=none").args(words);
        command
    };
    let name = unique("podman");
    let _cleanup = Cleanup(vec![podman(&["rm", "--force", "--time=0", &name])]);
    // The limits of this process: it may lack the right to raise them.
    let id = run(podman(&["run", "--detach", "--name", &name, "--network=none", "--log-driver=none"])
        .args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--pids-limit=0", "--rootfs"])
        .arg(root)
        .args(["/bin/sleep", "1000"]))?;
    let container = Container {
        cgroup: format!("/libpod_parent/libpod-{id}"),
        id,
        runtime: Some("podman"),
        proven: true,
    };
    scene.started(&container)?;
    scene.executes(&container, &mut podman(&["exec", &name, "/bin/true"]))?;
    let podman_run = |words: &[&str]| run(&mut podman(words)).map(drop);
    scene.pauses(&container, || podman_run(&["pause", &name]), || podman_run(&["unpause", &name]))?;
    podman_run(&["rm", "--force", "--time=0", &name])?;
    scene.removed(&container, None)
}
