//! runc alone: its caller chooses the cgroup's path, the same in every hierarchy.

use std::{fs, os::unix::fs::chown, path::Path, process::Command};

use anyhow::Result;
use cgtrace_host::hierarchy::discover;
use serde_json::{Value, json};

use super::scene::{Cleanup, Container, Scene, id, run};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, unique},
    confined::UID,
    lab,
};

pub fn as_root() -> Outcome {
    lab::program("runc")?;
    let scene = Scene::new(&[])?;
    let state = scene.folder().join("state");
    let runc = || {
        let mut command = Command::new("runc");
        command.arg("--root").arg(&state);
        command
    };
    let parent = unique("runc");
    // Named as CRI-O names it, which is one of the callers of runc.
    let container = container(&parent, "crio-", Some("cri-o"))?;
    let _parents = parents(&parent, None)?;
    specify(runc().arg("spec"), scene.folder(), &scene.root(), &container.cgroup, None)?;
    instances(scene, &container, runc)
}

/// In a user namespace, below cgroups that are owned by its user.
pub fn rootless() -> Outcome {
    lab::program("runc")?;
    let scene = Scene::new(&[])?;
    let state = scene.folder().join("state");
    let runc = || {
        let mut command = Command::new("setpriv");
        let uid = UID.to_string();
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "runc", "--root"]).arg(&state);
        command.env("XDG_RUNTIME_DIR", state.with_file_name("run"));
        command
    };
    let parent = unique("rootless");
    let container = container(&parent, "", None)?;
    let _parents = parents(&parent, Some(UID))?;
    chown(scene.folder(), Some(UID), Some(UID))?;
    let mut spec = runc();
    specify(spec.args(["spec", "--rootless"]), scene.folder(), &scene.root(), &container.cgroup, Some(UID))?;
    instances(scene, &container, runc)
}

fn container(parent: &str, prefix: &str, runtime: Option<&'static str>) -> Result<Container> {
    let id = id()?;
    Ok(Container { cgroup: format!("/{parent}/{prefix}{id}"), id, runtime, proven: true })
}

/// runc does not remove the parents that it creates; the test creates and removes them.
fn parents(name: &str, owner: Option<u32>) -> Result<Vec<Cgroup>> {
    let mut parents = Vec::new();
    for mount in discover()?.into_iter().filter_map(|found| found.mount) {
        let parent = Cgroup::at(&mount.path, name)?;
        if owner.is_some() {
            chown(parent.path(), owner, owner)?;
            for file in fs::read_dir(parent.path())? {
                chown(file?.path(), owner, owner)?;
            }
        }
        parents.push(parent);
    }
    Ok(parents)
}

/// `config.json`, derived from runc's own example.
fn specify(spec: &mut Command, bundle: &Path, root: &Path, cgroup: &str, user: Option<u32>) -> Outcome {
    run(spec.current_dir(bundle))?;
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    config["root"] = json!({"path": root, "readonly": true});
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sleep", "1000"]);
    // It cannot get higher limits than this process has.
    config["process"]["rlimits"] = json!([]);
    config["linux"]["cgroupsPath"] = json!(cgroup);
    if let Some(uid) = user {
        for ids in ["uidMappings", "gidMappings"] {
            config["linux"][ids] = json!([{"containerID": 0, "hostID": uid, "size": 1}]);
        }
    }
    Ok(fs::write(&path, config.to_string())?)
}

fn instances(mut scene: Scene, container: &Container, runc: impl Fn() -> Command) -> Outcome {
    let id = &container.id;
    let command = |words: &[&str]| {
        let mut command = runc();
        command.args(words);
        command
    };
    let _cleanup = Cleanup(vec![command(&["delete", "--force", id])]);
    let bundle = scene.folder().to_owned();
    run(command(&["run", "--detach", id]).current_dir(bundle))?;
    scene.started(container)?;
    scene.executes(container, &mut command(&["exec", id, "/bin/true"]))?;
    let runc_run = |words: &[&str]| run(&mut command(words)).map(drop);
    scene.pauses(container, || runc_run(&["pause", id]), || runc_run(&["resume", id]))?;
    runc_run(&["delete", "--force", id])?;
    scene.removed(container, None)
}
