//! No method, argument or name makes the daemon open a file outside cgroupfs.

use std::{fs, os::unix::net::UnixListener, process::Command};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::{
    attacker::{Attacker, delegated},
    calls,
    recording::Recording,
    stage::{ATTACKER, FOLDER, Stage},
};
use crate::support::{Outcome, cgroup::Cgroup, process::copy_program, skip, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("files::the_recording_detects_opened_files", control),
        trial("files::no_argument_opens_a_file_outside_cgroupfs", arguments),
        trial("files::a_history_on_disk_opens_its_folder_only", history),
        trial("files::no_process_or_cgroup_opens_a_file_outside_cgroupfs", surroundings),
    ]
}

const NO_STRACE: &str = "strace is missing";

/// Opens a file in each possible way, and checks that the recording detects it.
fn control() -> Outcome {
    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("secret");
    fs::write(&secret, "")?;
    let _listener = UnixListener::bind(folder.path().join("socket"))?;
    let path = secret.display();
    for script in [
        format!("exec 3<{path}"),
        format!("cd {} && exec 3<secret", folder.path().display()),
        format!("exec 3</proc/self/root{path}"),
        format!("exec 3</sys/fs/cgroup/../../..{path}"),
        format!("[ -e {path} ]"),
        format!(
            "exec perl -MSocket -e 'socket S, PF_UNIX, SOCK_STREAM, 0; connect S, sockaddr_un \"{path}\"'"
        ),
    ] {
        let (recording, mut command) = Recording::new()?.ok_or_else(|| skip(NO_STRACE))?;
        let mut child = command.args(["sh", "-c", &script]).spawn()?;
        child.wait()?;
        // Ignores the libraries of the shell.
        let violations = recording.violations(child.id(), 0, |path| !path.starts_with(folder.path()))?;
        ensure!(!violations.is_empty(), "`{script}` was not detected");
    }
    // Allowed files are not reported.
    let (recording, mut command) = Recording::new()?.ok_or_else(|| skip(NO_STRACE))?;
    let mut child = command.args(["sh", "-c", "exec 3</sys/fs/cgroup"]).spawn()?;
    child.wait()?;
    let violations = recording.violations(child.id(), 0, |path| !path.starts_with(folder.path()))?;
    ensure!(violations.is_empty(), "{violations:?}");
    Ok(())
}

/// Calls of every method while segments are begun, read and removed.
fn history() -> Outcome {
    let arguments = ["--history", &format!("{FOLDER}/history"), "--history-size", "1"];
    let stage = Stage::start_with(&arguments, None)?;
    let cgroup = Cgroup::new("v2", "hostile-history")?;
    let path = cgroup.join("x");
    let removed = || -> anyhow::Result<bool> {
        let log = json!({"method": "io.cgtrace.Log", "parameters": {"since_seq": 1, "max": 1}});
        let reply = stage.private()?.call(&log)?;
        Ok(reply["parameters"]["items"][0]["gap"]["reason"] == "retention")
    };
    let start = std::time::Instant::now();
    while !removed()? {
        for _ in 0..500 {
            fs::create_dir(&path)?;
            fs::remove_dir(&path)?;
        }
        ensure!(start.elapsed() < std::time::Duration::from_mins(2), "nothing is removed");
    }
    for text in [&cgroup.name_of(&path), "/etc/passwd", "../../../etc/passwd"] {
        calls::replies(text, || stage.private())?;
        calls::replies(text, || stage.public(ATTACKER))?;
    }
    let files: Vec<_> = fs::read_dir(stage.history())?.collect::<Result<_, _>>()?;
    ensure!(files.len() > 1, "{files:?}");
    for file in files {
        // Root's evidence is not for everybody.
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
        ensure!(mode.trailing_zeros() >= 3, "{file:?} has the mode {mode:o}");
    }
    stage.finish()?;
    // In memory, nothing is written.
    let stage = Stage::start()?;
    ensure!(!stage.history().exists(), "it writes without --history");
    stage.finish()
}

/// Paths, hierarchies, patterns, kinds, comms and methods that are paths of other files.
fn arguments() -> Outcome {
    let stage = Stage::start()?;
    if !stage.is_recorded() {
        return Err(skip(NO_STRACE));
    }
    calls::ensure_complete(&mut stage.private()?)?;
    let file = stage.folder().join("secret");
    fs::write(&file, "secret")?;
    let secret = file.display().to_string();
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

/// Processes with a tracked comm, cgroups whose names look like paths, mounts of a namespace.
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
        for path in ["/..%2f..%2fetc", "/", "/.."] {
            kubelet.call(
                &stage.public_socket(),
                &json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": [path]}}),
            )?;
        }
        // Execs of a tracked comm, with the configuration in another file.
        for _ in 0..10 {
            let status = Command::new(program.join("kubelet")).args(["--config=/etc/shadow"]).status();
            status.context("failed to run kubelet")?;
        }
        Ok(())
    })?;
    drop(subtree);
    stage.finish()
}
