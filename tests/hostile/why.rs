//! Root runs `cgtrace why` about the attacker's process: it ends soon, reads no other file, and prints no
//! advice that the attacker controls.

use std::{
    fs,
    io::{Read as _, Seek as _},
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::{
    attacker::{Attacker, delegated},
    recording::Recording,
    stage::{ATTACKER, Stage, selection},
};
use crate::support::{Outcome, daemon::open_folder, daemon::program, skip, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::a_command_line_of_64_mb", command_line),
        trial("why::a_thousand_stacked_mounts", mounts),
        trial("why::fifteen_thousand_inotify_descriptors", descriptors),
        trial("why::a_path_that_proc_truncates", long_path),
        trial("why::a_configuration_that_is_not_a_regular_file", configuration),
        trial("why::a_kubelet_of_another_user_is_not_selected", poisoned),
        trial("why::shell_syntax_in_a_path_is_quoted", quoted),
    ]
}

/// Long enough for a machine under load; before the fixes, each attack took minutes or forever.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs `cgtrace why` as root.
fn why(stage: &Stage, arguments: &[&str]) -> Result<Output> {
    let mut command = program();
    command.args(selection(stage.folder())).arg("why").args(arguments);
    output_within(&mut command)
}

/// Runs a command, and fails if it does not exit in time.
pub fn output_within(command: &mut Command) -> Result<Output> {
    // Not pipes: nothing reads them until the command exits.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut child =
        command.stdout(Stdio::from(stdout.try_clone()?)).stderr(Stdio::from(stderr.try_clone()?)).spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > TIMEOUT {
            // It may be blocked where no signal reaches it.
            child.kill()?;
            anyhow::bail!("{command:?}: no answer within {TIMEOUT:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut output = Output { status: child.wait()?, stdout: Vec::new(), stderr: Vec::new() };
    for (file, bytes) in [(&mut stdout, &mut output.stdout), (&mut stderr, &mut output.stderr)] {
        file.rewind()?;
        file.read_to_end(bytes)?;
    }
    Ok(output)
}

/// Stdout and stderr.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Fails unless the command printed a verdict.
pub fn is_answered(output: &Output) -> Outcome {
    ensure!(matches!(output.status.code(), Some(0 | 1)), "{}: {}", output.status, text(output));
    ensure!(output.stdout.len() + output.stderr.len() < 1 << 20, "{} bytes", output.stdout.len());
    Ok(())
}

fn check_why(stage: &Stage, attacker: &Attacker) -> Outcome {
    let pid = attacker.pid().to_string();
    let home = attacker.home().name();
    is_answered(&why(stage, &["/cgtrace-test-nowhere", "--pid", &pid])?)?;
    is_answered(&why(stage, &[&home, "--pid", &pid])?)
}

fn command_line() -> Outcome {
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    if let Err(error) = attacker.order(&json!({"do": "command line", "count": 64 << 20})) {
        return Err(skip(format!("{error:#}")));
    }
    check_why(&stage, &attacker)?;
    stage.finish()
}

fn mounts() -> Outcome {
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    let on = attacker.home().path().to_owned();
    attacker.order(&json!({"do": "mounts", "on": on, "count": 1_000}))?;
    check_why(&stage, &attacker)?;
    stage.finish()
}

fn descriptors() -> Outcome {
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    let folder = open_folder()?;
    std::os::unix::fs::chown(folder.path(), Some(ATTACKER), Some(ATTACKER))?;
    let report = attacker.order(&json!({"do": "watches", "below": folder.path(), "count": 15_000}))?;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    // It has a few other descriptors open.
    let enough = limit.unwrap_or(u64::MAX).saturating_sub(64).min(15_000);
    ensure!(report["held"].as_u64() >= Some(enough) && report["instances"].as_u64() > Some(1), "{report}");
    check_why(&stage, &attacker)?;
    stage.finish()
}

/// Three names of 4,000 bytes each. `/proc/PID/cgroup` shows a truncated path, or fails.
fn long_path() -> Outcome {
    let stage = Stage::start()?;
    let mut attacker = Attacker::start()?;
    let below = attacker.home().path().to_owned();
    attacker.order(&json!({"do": "nest", "below": below, "count": 3, "leaves": 0}))?;
    attacker.order(&json!({"do": "enter"}))?;
    let pid = attacker.pid().to_string();
    let mut show = program();
    show.args(selection(stage.folder())).args(["show", "--pid", &pid]);
    let output = text(&output_within(&mut show)?);
    ensure!(output.contains("too long for /proc") || output.contains("longer than /proc"), "{output}");
    let output = text(&why(&stage, &["/cgtrace-test-nowhere", "--pid", &pid])?);
    ensure!(output.contains("too long for /proc") || output.contains("longer than /proc"), "{output}");
    // The truncated path must not be taken for a cgroup.
    ensure!(!output.contains(&attacker.home().name()), "{output}");
    stage.serves()?;
    stage.finish()
}

/// `--config` of the attacker's process leads to a device or to a file of another user.
fn configuration() -> Outcome {
    let stage = Stage::start()?;
    let folder = open_folder()?;
    let at = |name: &str| folder.path().join(name);
    let secret = at("secret");
    fs::write(&secret, "systemCgroups: /cgtrace-test-secret\nkind: KubeletConfiguration\n")?;
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    ensure!(Command::new("mkfifo").arg(at("fifo")).status().context("mkfifo")?.success());
    symlink("/etc/shadow", at("link"))?;
    fs::File::create(at("huge"))?.set_len(1 << 33)?;
    let own = format!("/proc/{}/root{}", std::process::id(), secret.display());
    let fifo = at("fifo").display().to_string();
    let huge = at("huge").display().to_string();
    let link = at("link").display().to_string();
    for path in [
        &*fifo,
        "/dev/zero",
        "/dev/tty",
        &*huge,
        "/proc/self/mem",
        "/proc/kmsg",
        &*link,
        &*own,
        "/etc/shadow",
    ] {
        let attacker = Attacker::start_as("kubelet", &[&format!("--config={path}"), "--kubelet-cgroups=/x"])?;
        let pid = attacker.pid().to_string();
        let output = why(&stage, &["--kubelet", "--pid", &pid])?;
        let text = text(&output);
        ensure!(matches!(output.status.code(), Some(0..=3)), "{path}: {}", output.status);
        ensure!(!text.contains("cgtrace-test-secret") && !text.contains("root:"), "{path} was read: {text}");
        drop(attacker);
    }
    // It does not even open the device.
    let attacker = Attacker::start_as("kubelet", &["--config=/dev/zero", "--kubelet-cgroups=/x"])?;
    let Some((recording, mut command)) = Recording::new()? else { return stage.finish() };
    command.arg(program().get_program()).args(selection(stage.folder()));
    command.args(["why", "--kubelet", "--pid", &attacker.pid().to_string()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    child.wait()?;
    let opened = recording.reads(child.id(), std::path::Path::new("/dev/zero"))?;
    ensure!(opened.is_empty(), "{opened:?}");
    stage.finish()
}

/// A process of another user with the comm kubelet, whose flags would lead an admin to do harm.
fn poisoned() -> Outcome {
    let stage = Stage::start()?;
    let trap = delegated("hostile-trap")?;
    let flag = format!("--kubelet-cgroups={}", trap.name());
    let attacker = Attacker::start_as("kubelet", &[&flag, "--runtime-cgroups=/cgtrace-test-poison"])?;
    let pid = attacker.pid();
    for arguments in [&["--kubelet"][..], &["/system.slice/kubelet.service", "--process", "kubelet"]] {
        let output = why(&stage, arguments)?;
        let text = text(&output);
        // The command fails with the candidates, or selects a kubelet of root, but never this one.
        ensure!(!text.contains("cgtrace-test-poison"), "{arguments:?}: {text}");
        ensure!(!advises(&text, &trap.name()), "{arguments:?}: {text}");
        ensure!(!text.contains(&format!("mkdir {}", trap.path().display())), "{arguments:?}: {text}");
    }
    // Selected by pid, it is described, but no advice names its cgroups.
    let output = why(&stage, &["/system.slice/kubelet.service", "--pid", &pid.to_string()])?;
    ensure!(!advises(&text(&output), &trap.name()), "{}", text(&output));
    stage.finish()
}

/// Whether a remediation in the text names the cgroup.
fn advises(text: &str, name: &str) -> bool {
    let mut is_advice = false;
    text.lines().map(str::trim_start).any(|line| {
        is_advice = line == "what to do:" || (is_advice && line.starts_with("- "));
        is_advice && line.contains(name)
    })
}

/// Names that a shell would execute if they were not quoted.
fn quoted() -> Outcome {
    let stage = Stage::start()?;
    let subtree = delegated("hostile-shell")?;
    for name in ["$(touch pwned).service", "a; reboot #.service", "`id`.service", "it's.service"] {
        let directory = subtree.join(name);
        fs::create_dir(&directory)?;
        let cgroup = subtree.name_of(&directory);
        for path in [cgroup.clone(), format!("{cgroup}x"), format!("/{name}")] {
            let output = why(&stage, &[&path])?;
            is_answered(&output)?;
            for line in text(&output).lines().filter(|line| is_command(line)) {
                ensure!(is_inert(line), "a shell would run it: {line}");
            }
        }
    }
    stage.finish()
}

/// Whether a line contains a shell command.
fn is_command(line: &str) -> bool {
    ["cgtrace ", "systemctl ", "ls ", "cat ", "mkdir ", "sudo "].iter().any(|word| line.contains(word))
}

/// Whether a line contains no shell expansion and no second command.
fn is_inert(line: &str) -> bool {
    let mut quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => quoted = !quoted,
            '\\' if !quoted => {
                characters.next();
            }
            '$' | '`' | ';' if !quoted => return false,
            _ => {}
        }
    }
    true
}
