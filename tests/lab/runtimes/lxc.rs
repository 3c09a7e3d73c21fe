//! LXC: `/lxc.payload.NAME`, with `/lxc.monitor.NAME` beside it.

use std::{fs, process::Command};

use super::scene::{Cleanup, Container, Scene, run};
use crate::support::{Outcome, cgroup, cgroup::unique, lab};

pub fn container() -> Outcome {
    lab::program("lxc-start")?;
    let name = unique("lxc");
    let monitor = format!("lxc.monitor.{name}");
    let mut scene = Scene::new(&["lxc.pivot", &monitor])?;
    let config = scene.folder().join("lxc.conf");
    fs::write(
        &config,
        format!(
            "lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\nlxc.net.0.type = none\nlxc.init.cmd = /bin/sleep 1000\n\
             lxc.apparmor.profile = unconfined\n",
            scene.root().display()
        ),
    )?;
    let folder = scene.folder().to_owned();
    let lxc = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.arg("--lxcpath").arg(&folder).args(["--name", &name]).args(words);
        command
    };
    let _cleanup = Cleanup(vec![lxc("lxc-stop", &["--kill"])]);
    let config = config.to_string_lossy().into_owned();
    run(&mut lxc("lxc-start", &["--daemon", "--rcfile", &config]))?;
    let container = Container {
        cgroup: format!("/lxc.payload.{name}"),
        id: name.clone(),
        runtime: Some("lxc"),
        proven: true,
    };
    scene.started(&container)?;
    scene.executes(&container, &mut lxc("lxc-attach", &["--", "/bin/true"]))?;
    let lxc_run = |program: &str, words: &[&str]| run(&mut lxc(program, words)).map(drop);
    if cgroup::mount("freezer").is_ok() {
        // lxc-freeze of LXC 5.0 fails where v2 is mounted beside v1, so this writes the freezer's state
        // directly.
        let write = |state: &str| lxc_run("lxc-cgroup", &["freezer.state", state]);
        scene.pauses(&container, || write("FROZEN"), || write("THAWED"))?;
    } else {
        scene.pauses(&container, || lxc_run("lxc-freeze", &[]), || lxc_run("lxc-unfreeze", &[]))?;
    }
    lxc_run("lxc-stop", &["--kill"])?;
    scene.removed(&container, Some("lxc.monitor."))
}
