//! systemd-nspawn: `payload` below the scope that machined creates, or that it is started in.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::scene::{Cleanup, Container, Scene, proves};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount, unique},
    lab,
};

pub fn container() -> Outcome {
    lab::program("systemd-nspawn")?;
    let mut scene = Scene::new(&[])?;
    let (parent, machine) = (unique("nspawn"), format!("cgtracetest{}", std::process::id()));
    let scope = format!("machine-{machine}.scope");
    let mut mounts = vec![mount("v2")?];
    mounts.extend(mount("name=systemd"));
    let parents = mounts.iter().map(|mount| Cgroup::at(mount, &parent)).collect::<Result<Vec<_>>>()?;
    let scopes: Vec<_> = parents.iter().map(|parent| parent.join(&scope)).collect();
    // As machined does; without it, nspawn uses the cgroups that it is in.
    for scope in &scopes {
        fs::create_dir(scope)?;
    }
    let enter = "until [ \"$1\" = -- ]; do echo $$ > \"$1/cgroup.procs\"; shift; done; shift; exec \"$@\"";
    let mut nspawn = Command::new("sh");
    nspawn.args(["-c", enter, "sh"]).args(&scopes).args(["--", "setpriv", "--pdeathsig", "TERM"]);
    nspawn.args(["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe"]);
    nspawn.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--as-pid2"]);
    nspawn.arg(format!("--machine={machine}")).arg("--directory").arg(scene.root());
    nspawn.args(["/bin/sh", "-c", "echo ready; exec sleep 1000"]);
    let mut nspawn = nspawn.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stop = |signal: &str, pid: u32| {
        let mut kill = Command::new("kill");
        kill.args([signal, &pid.to_string()]);
        kill
    };
    let _cleanup = Cleanup(vec![stop("-KILL", nspawn.id())]);
    let mut line = String::new();
    let stdout = nspawn.stdout.take().context("no stdout")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    let container = Container {
        cgroup: format!("/{parent}/{scope}/payload"),
        id: machine,
        runtime: Some("systemd-nspawn"),
        // At machined's location the scope's name proves the machine; below a test's parent it proves
        // nothing.
        proven: false,
    };
    proves(&format!("/machine.slice/{scope}/payload"), Some(&container.id), container.runtime)?;
    scene.started(&container)?;
    let payloads: Vec<_> = scopes.iter().map(|scope| scope.join("payload")).collect();
    let mut exec = Command::new("sh");
    exec.args(["-c", enter, "sh"]).args(&payloads).args(["--", "true"]);
    scene.executes(&container, &mut exec)?;
    // nspawn has no pause command: the test does what `systemctl freeze` does.
    let freezer = payloads.first().context("no payload")?.join("cgroup.freeze");
    scene.pauses(&container, || Ok(fs::write(&freezer, "1")?), || Ok(fs::write(&freezer, "0")?))?;
    super::scene::run(&mut stop("-TERM", nspawn.id()))?;
    nspawn.wait()?;
    for scope in parents.iter().map(|parent| parent.join(&scope)) {
        crate::support::cgroup::remove_tree(&scope);
    }
    scene.removed(&container, None)
}
