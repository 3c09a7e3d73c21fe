//! Root asks about a process whose files lie on a file system that does not answer: the command ends in time, and says what
//! it could not read.

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
        trial("hung::a_configuration_that_is_never_found", never_found),
        trial("hung::a_configuration_that_is_never_read", never_read),
        trial("hung::a_working_directory_and_open_files", open_files),
        trial("hung::an_executable", executable),
        trial("hung::one_that_the_attacker_mounted_itself", own),
    ]
}

/// A process of the attacker's, called kubelet, and what its files are on. The file system ends first, or the process
/// could not.
struct Hung {
    fuse: Fuse,
    process: Fake,
}

impl Hung {
    /// `script` and `flags` are given the mount point, which has one file, `file`.
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

/// What root's command prints, once it has ended; the daemon is served meanwhile.
fn asked(stage: &Stage, arguments: &[&str]) -> Result<String> {
    let mut command = program();
    command.args(selection(stage.folder())).args(arguments);
    let output = stage.serves_during(|| output_within(&mut command))?;
    is_answered(&output)?;
    Ok(text(&output))
}

fn config(on: &Path) -> String {
    format!("--config={}/kubelet", on.display())
}

fn says(said: &str, parts: &[&str]) -> Outcome {
    ensure!(said.lines().any(|line| parts.iter().all(|part| line.contains(part))), "no {parts:?} in {said}");
    Ok(())
}

fn never_found() -> Outcome {
    let stage = Stage::start()?;
    let hung = Hung::start(b"kind: KubeletConfiguration\n", |_| "1".to_owned(), config)?;
    hung.fuse.answer(Answers::None);
    let said = asked(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &hung.pid()])?;
    says(&said, &["mounted/kubelet", "was not read in time"])?;
    ensure!(hung.fuse.unanswered() > 0, "it was not asked: {said}");
    asked(&stage, &["show", "--pid", &hung.pid()])?;
    drop(hung);
    stage.finish()
}

fn never_read() -> Outcome {
    let stage = Stage::start()?;
    let hung = Hung::start(b"kind: KubeletConfiguration\n", |_| "1".to_owned(), config)?;
    hung.fuse.answer(Answers::AllButReads);
    let said = asked(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &hung.pid()])?;
    says(&said, &["mounted/kubelet", "was not read in time"])?;
    ensure!(hung.fuse.unanswered() > 0, "it was not asked: {said}");
    drop(hung);
    stage.finish()
}

/// Also a relative path of a configuration.
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
    let said = asked(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &hung.pid()])?;
    says(&said, &["kubelet", "was not read in time"])?;
    asked(&stage, &["show", "--pid", &hung.pid()])?;
    drop(hung);
    stage.finish()
}

/// Which process is meant is not clear, so that each one's executable is looked at.
fn executable() -> Outcome {
    let stage = Stage::start()?;
    let hung = Hung::start(&fs::read("/usr/bin/perl")?, |_| "1".to_owned(), |_| "--x".to_owned())?;
    let twin = Fake::start_in(&[], "kubelet", "1", &[], Some(ATTACKER))?;
    hung.fuse.answer(Answers::None);
    let mut command = program();
    command.args(selection(stage.folder())).args(["why", "/cgtrace-test-nowhere", "--process", "kubelet"]);
    let output = stage.serves_during(|| output_within(&mut command))?;
    let said = text(&output);
    // Another test may have a kubelet of root's, which is then the one that is meant.
    if output.status.code() == Some(2) {
        says(&said, &[&format!("pid {}, uid {ATTACKER}", hung.pid())])?;
        says(&said, &[&format!("pid {}, uid {ATTACKER}", twin.pid())])?;
    } else {
        is_answered(&output)?;
    }
    says(&asked(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &hung.pid()])?, &["asked by kubelet"])?;
    asked(&stage, &["why", "/system.slice/kubelet.service"])?;
    drop(hung);
    stage.finish()
}

/// In its user namespace, as many distributions allow: the kernel lets not even root in.
fn own() -> Outcome {
    let stage = Stage::start()?;
    let folder = open_folder()?;
    let (device, on) = (folder.path().join("device"), folder.path().join("mounted"));
    fs::create_dir(&on)?;
    chown(&on, Some(ATTACKER), Some(ATTACKER))?;
    // /dev/fuse, which everybody may open on most of them.
    mknodat(CWD, &device, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(10, 229))?;
    fs::set_permissions(&device, fs::Permissions::from_mode(0o666))?;
    let mut attacker = Attacker::start_as("kubelet", &[&config(&on)])?;
    if let Err(error) = attacker.order(&json!({"do": "fuse", "device": device, "on": on})) {
        return Err(skip(format!("no FUSE in a user namespace here: {error:#}")));
    }
    let pid = attacker.pid().to_string();
    let said = asked(&stage, &["why", "/cgtrace-test-nowhere", "--pid", &pid])?;
    says(&said, &["mounted/kubelet", "was not read", "Permission denied"])?;
    asked(&stage, &["show", "--pid", &pid])?;
    drop(attacker);
    stage.finish()
}
