//! Missing parts of the system: /proc, BTF, tracing file systems, the right to lock memory.

use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use aya::util::KernelVersion;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::Cgroup,
    confined,
    daemon::{Daemon, open_folder, program},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("faults::proc_is_not_mounted", no_proc),
        trial("faults::btf_is_missing", no_btf),
        trial("faults::neither_tracefs_nor_bpffs", no_file_systems),
        trial("faults::hidepid_for_root", hidepid),
        trial("faults::a_low_limit_on_locked_memory", locked_memory),
    ]
}

/// A command that runs the program in a private mount namespace, after a script has changed its mounts.
fn after(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(format!("{script} || exit 99; exec \"$@\"")).arg("sh").arg(program().get_program());
    command.env_remove("CGTRACE_SOCKET").env("CGTRACE_LOG", "warn");
    command
}

/// Runs `verify` without a daemon, so that the tracker starts in that process.
fn verify(mut command: Command) -> Result<Output> {
    command.args(["--socket", "/nonexistent/io.cgtrace", "verify"]).output().context("failed to run cgtrace")
}

/// Expects exit code 3 and a message with these words.
fn cannot_know(output: &Output, words: &[&str]) -> Outcome {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{output:?}");
    for word in words {
        ensure!(stderr.contains(word), "`{word}` is missing: {stderr}");
    }
    Ok(())
}

fn no_proc() -> Outcome {
    cannot_know(&verify(after("mount -t tmpfs none /proc"))?, &["check that /proc is mounted"])
}

/// A kernel without BTF has neither this directory nor the file.
fn no_btf() -> Outcome {
    let output = verify(after("mount -t tmpfs none /sys/kernel/btf"))?;
    cannot_know(&output, &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"])
}

/// Only cgroup file systems are mounted in /sys: the daemon starts and traces.
fn no_file_systems() -> Outcome {
    let script = "for place in $(grep -E ' - (tracefs|debugfs|bpf) ' /proc/self/mountinfo | cut -d' ' -f5); do \
                  umount -l $place 2>/dev/null; done; \
                  ! grep -Eq ' - (tracefs|debugfs|bpf) ' /proc/self/mountinfo";
    let folder = open_folder()?;
    let mut command = after(script);
    command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
    let mut daemon = Daemon::spawn_by(&mut command, folder)?;
    daemon.wait_ready()?;
    let cgroup =
        Cgroup::new("v2", "no-file-systems").or_else(|_| Cgroup::new("name=systemd", "no-file-systems"))?;
    ensure!(daemon.client()?.exists(&cgroup.name())?, "a new cgroup is not known");
    let name = cgroup.name();
    drop(cgroup);
    ensure!(!daemon.client()?.exists(&name)?, "a removed cgroup is still there");
    daemon.verify()
}

/// With the strictest hidepid, root still sees the members of a cgroup and the cgroups of others' processes.
fn hidepid() -> Outcome {
    let mut sleeper = Command::new("setpriv")
        .args(["--reuid", &confined::UID.to_string(), "--clear-groups", "sleep", "1000"])
        .spawn()
        .context("failed to run setpriv")?;
    let folder = open_folder()?;
    let mut command = after("mount -t proc -o hidepid=2 proc /proc");
    command.arg("--runtime-dir").arg(folder.path()).arg("daemon");
    let seen = (|| {
        let mut daemon = Daemon::spawn_by(&mut command, folder)?;
        daemon.wait_ready()?;
        daemon.run(&["show", "--pid", &sleeper.id().to_string()])
    })();
    sleeper.kill()?;
    sleeper.wait()?;
    let seen = seen?;
    ensure!(seen.status.code() == Some(0), "{seen:?}");
    Ok(())
}

/// Before Linux 5.11 maps count as locked memory, and the message names the limit; since then it does not
/// matter.
fn locked_memory() -> Outcome {
    let mut command = Command::new("prlimit");
    // Without the capability the limit cannot be raised, as in a unit without it.
    command.args(["--memlock=65536:65536", "setpriv", "--bounding-set", "-sys_resource"]);
    command.arg(program().get_program()).env("CGTRACE_LOG", "warn");
    let output = verify(command)?;
    if KernelVersion::current()? < KernelVersion::new(5, 11, 0) {
        return cannot_know(&output, &["locked memory", "LimitMEMLOCK=infinity"]);
    }
    ensure!(output.status.code() == Some(0), "{output:?}");
    Ok(())
}
