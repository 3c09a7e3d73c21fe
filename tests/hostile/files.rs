//! No method, argument or name makes the daemon open anything outside cgroupfs.

use std::{fs, os::unix::net::UnixListener, process::Command};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::{
    attacker::{Attacker, delegated},
    calls,
    recording::Recording,
    stage::{ATTACKER, Stage},
};
use crate::support::{Outcome, process::copy_program, skip, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("files::the_recording_sees_what_is_opened", control),
        trial("files::no_argument_opens_anything_outside_cgroupfs", arguments),
        trial("files::no_process_or_cgroup_opens_anything_outside_cgroupfs", surroundings),
    ]
}

const NO_STRACE: &str = "strace is missing";

/// Each way to a file, by a process that does open it.
fn control() -> Outcome {
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("secret");
    fs::write(&secret, "")?;
    let _listener = UnixListener::bind(folder.path().join("socket"))?;
    let name = secret.display();
    for script in [
        format!("exec 3<{name}"),
        format!("cd {} && exec 3<secret", folder.path().display()),
        format!("exec 3</proc/self/root{name}"),
        format!("exec 3</sys/fs/cgroup/../../..{name}"),
        format!("[ -e {name} ]"),
        format!(
            "exec perl -MSocket -e 'socket S, PF_UNIX, SOCK_STREAM, 0; connect S, sockaddr_un \"{name}\"'"
        ),
    ] {
        let (recording, mut command) = Recording::of()?.ok_or_else(|| skip(NO_STRACE))?;
        let mut child = command.args(["sh", "-c", &script]).spawn()?;
        child.wait()?;
        // A shell that starts needs its libraries; what matters is that nothing else hides the file.
        let strangers = recording.strangers(child.id(), 0, |path| !path.starts_with(folder.path()))?;
        ensure!(!strangers.is_empty(), "`{script}` was not seen");
    }
    // What is allowed is no stranger.
    let (recording, mut command) = Recording::of()?.ok_or_else(|| skip(NO_STRACE))?;
    let mut child = command.args(["sh", "-c", "exec 3</sys/fs/cgroup"]).spawn()?;
    child.wait()?;
    let strangers = recording.strangers(child.id(), 0, |path| !path.starts_with(folder.path()))?;
    ensure!(strangers.is_empty(), "{strangers:?}");
    Ok(())
}

/// Names, hierarchies, patterns, kinds, process names and methods that are paths elsewhere.
fn arguments() -> Outcome {
    let stage = Stage::start()?;
    if !stage.is_recorded() {
        return Err(skip(NO_STRACE));
    }
    calls::are_complete(&mut stage.private()?)?;
    let folder = stage.folder().join("secret");
    fs::write(&folder, "secret")?;
    let secret = folder.display().to_string();
    let hex = secret.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    stage.serves_during(|| -> Outcome {
        for text in [
            secret.clone(),
            format!("/../../../../..{secret}"),
            format!("/proc/self/root{secret}"),
            format!("/sys/fs/cgroup/../../..{secret}"),
            format!("hex:{hex}"),
            format!("/*/..{secret}"),
            format!("/{{..,x}}{secret}"),
            "/etc/shadow".to_owned(),
            "/dev/zero".to_owned(),
            "/proc/1/environ".to_owned(),
            "/sys/fs/bpf".to_owned(),
            "/cgroup.procs".to_owned(),
            "/etc/cgtrace/cgtrace.toml".to_owned(),
            "kubelet".to_owned(),
            "\u{0}/etc/shadow".to_owned(),
            String::new(),
        ] {
            let public = calls::replies(&text, || stage.public(ATTACKER))?;
            for (call, reply) in public.iter().chain(&calls::replies(&text, || stage.private())?) {
                ensure!(!reply["parameters"].to_string().contains("secret\\n"), "{call}: {reply}");
            }
        }
        Ok(())
    })?;
    stage.finish()
}

/// Processes that bear the name of one that is tracked, cgroups whose names are paths, mounts of a namespace.
fn surroundings() -> Outcome {
    let stage = Stage::start_with(&["--track-exec", "kubelet"], None)?;
    if !stage.is_recorded() {
        return Err(skip(NO_STRACE));
    }
    let subtree = delegated("hostile-names")?;
    let program = stage.folder();
    copy_program("/bin/true", &program.join("kubelet"))?;
    let mut kubelet =
        Attacker::start_as("kubelet", &["--config=/etc/shadow", "--kubelet-cgroups=/../../etc"])?;
    stage.serves_during(|| -> Outcome {
        for name in
            ["..%2f..%2fetc", "etc\\x2fshadow", "proc", "kubepods-pod1.slice", "cri-containerd-1.scope"]
        {
            fs::create_dir(subtree.join(name))?;
        }
        kubelet.order(&json!({"do": "mounts", "on": subtree.path(), "count": 20}))?;
        for name in ["/..%2f..%2fetc", "/", "/.."] {
            kubelet.call(
                &stage.public_socket(),
                &json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": [name]}}),
            )?;
        }
        // Execs of that name, each with links that lead elsewhere.
        for _ in 0..10 {
            let status = Command::new(program.join("kubelet")).args(["--config=/etc/shadow"]).status();
            status.context("a program named kubelet")?;
        }
        Ok(())
    })?;
    drop(subtree);
    stage.finish()
}
