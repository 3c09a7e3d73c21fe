//! Root runs `why` about a process whose files are on a file system that does not answer: the command ends in
//! time and reports which files it could not read.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::json;

use super::{
    attacker::Attacker,
    stage::{ATTACKER, Stage, selection},
    why::{is_answered, output_within, text},
};
use crate::support::{
    Outcome,
    daemon::{open_folder, program},
    fake::Fake,
    fuse::{Answers, Fuse},
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("hung::lookup_of_the_configuration", never_found),
        trial("hung::read_of_the_configuration", never_read),
        trial("hung::working_directory_and_open_files", open_files),
        trial("hung::executable", executable),
        trial("hung::file_system_of_the_attacker", own),
    ]
}

/// A process of the attacker with the comm kubelet, and the file system of its files. The file system is
/// dropped first, as the process could not exit otherwise.
struct Hung {
    fuse: Fuse,
    process: Fake,
}

impl Hung {
    /// `script` and `flag` get the mount point, which contains one file, `kubelet`.
    fn start(
        content: &[u8],
        script: impl Fn(&Path) -> String,
        flag: impl Fn(&Path) -> String,
    ) -> Result<Self> {
        let fuse = Fuse::new("kubelet", content.to_vec())?;
        let (folder, program) = crate::support::fake::program("kubelet")?;
        let on = folder.path().join("mounted");
        fs::create_dir(&on)?;
        let program = if content.starts_with(b"\x7fELF") { on.join("kubelet") } else { program };
        let uid = ATTACKER.to_string();
        let before = ["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"];
        let (script, flag) = (script(&on), flag(&on));
        let process = Fake::start_by(&before, &program, &script, &[&flag], folder, |command| {
            fuse.mounted_by(command, &on)
        })?;
        Ok(Self { fuse, process })
    }

    fn pid(&self) -> String {
        self.process.pid().to_string()
    }
}

/// Runs a command as root and returns its output; the daemon must answer meanwhile.
fn run(stage: &Stage, arguments: &[&str]) -> Result<String> {
    let mut command = program();
    command.args(selection(stage.folder())).args(arguments);
    let output = stage.serves_during(|| output_within(&mut command))?;
    is_answered(&output)?;
    Ok(text(&output))
}

fn config(on: &Path) -> String {
    format!("--config={}/kubelet", on.display())
}

fn has_line(output: &str, parts: &[&str]) -> Outcome {
    ensure!(
        output.lines().any(|line| parts.iter().all(|part| line.contains(part))),
        "no line with {parts:?} in {output}"
    );
    Ok(())
}

fn never_found() -> Outcome {
    let stage = Stage::start()?;
    let hung = Hung::start(b"kind: KubeletConfiguration\n", |_| "1".to_owned(), config)?;
    hung.fuse.answer(Answers::None);
    let output = run(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &hung.pid()])?;
    has_line(&output, &["mounted/kubelet", "was not read in time"])?;
    ensure!(hung.fuse.unanswered() > 0, "the file system got no request: {output}");
    run(&stage, &["show", "--pid", &hung.pid()])?;
    drop(hung);
    stage.finish()
}

fn never_read() -> Outcome {
    let stage = Stage::start()?;
    let hung = Hung::start(b"kind: KubeletConfiguration\n", |_| "1".to_owned(), config)?;
    hung.fuse.answer(Answers::AllButReads);
    let output = run(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &hung.pid()])?;
    has_line(&output, &["mounted/kubelet", "was not read in time"])?;
    ensure!(hung.fuse.unanswered() > 0, "the file system got no request: {output}");
    drop(hung);
    stage.finish()
}

/// The path of the configuration is relative, too.
fn open_files() -> Outcome {
    let stage = Stage::start()?;
    let script = |on: &Path| {
        format!(
            "chdir '{0}' or die; our @open; for (1..100) {{ open my $f, '<', 'kubelet' or die; push @open, $f }}",
            on.display()
        )
    };
    let hung = Hung::start(b"kind: KubeletConfiguration\n", script, |_| "--config=kubelet".to_owned())?;
    hung.fuse.answer(Answers::None);
    let output = run(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &hung.pid()])?;
    has_line(&output, &["kubelet", "was not read in time"])?;
    run(&stage, &["show", "--pid", &hung.pid()])?;
    drop(hung);
    stage.finish()
}

/// The process is ambiguous, so the executable of each candidate is read.
fn executable() -> Outcome {
    let stage = Stage::start()?;
    let hung = Hung::start(&fs::read("/usr/bin/perl")?, |_| "1".to_owned(), |_| "--x".to_owned())?;
    let twin = Fake::start_in(&[], "kubelet", "1", &[], Some(ATTACKER))?;
    hung.fuse.answer(Answers::None);
    let mut command = program();
    command.args(selection(stage.folder())).args(["why", "/cgtrace-test-nowhere", "--process", "kubelet"]);
    let output = stage.serves_during(|| output_within(&mut command))?;
    let text = text(&output);
    // Another test may run a kubelet as root, which is then selected.
    if output.status.code() == Some(2) {
        has_line(&text, &[&format!("pid {}, uid {ATTACKER}", hung.pid())])?;
        has_line(&text, &[&format!("pid {}, uid {ATTACKER}", twin.pid())])?;
    } else {
        is_answered(&output)?;
    }
    has_line(&run(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &hung.pid()])?, &["observer kubelet"])?;
    run(&stage, &["why", "/system.slice/kubelet.service"])?;
    drop(hung);
    stage.finish()
}

/// A FUSE mount in a user namespace, which many distributions allow: the kernel denies access even to root.
fn own() -> Outcome {
    let stage = Stage::start()?;
    let folder = open_folder()?;
    let (device, on) = (folder.path().join("device"), folder.path().join("mounted"));
    fs::create_dir(&on)?;
    chown(&on, Some(ATTACKER), Some(ATTACKER))?;
    // /dev/fuse, which all users can open on most distributions.
    mknodat(CWD, &device, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(10, 229))?;
    fs::set_permissions(&device, fs::Permissions::from_mode(0o666))?;
    let mut attacker = Attacker::start_as("kubelet", &[&config(&on)])?;
    if let Err(error) = attacker.order(&json!({"do": "fuse", "device": device, "on": on})) {
        return Err(skip(format!("no FUSE in a user namespace here: {error:#}")));
    }
    let pid = attacker.pid().to_string();
    let output = run(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &pid])?;
    has_line(&output, &["mounted/kubelet", "was not read", "Permission denied"])?;
    run(&stage, &["show", "--pid", &pid])?;
    drop(attacker);
    stage.finish()
}
