//! Kubelets within other programs.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::{ask, looks_up, on};
use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::Daemon,
    fake::{self, Fake},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::kubelet::hyperkube", hyperkube),
        trial("reports::kubelet::k3s", k3s),
        trial("reports::kubelet::k3s_hides_its_command_line", k3s_title),
        trial("reports::kubelet::kubelite", kubelite),
        trial("reports::kubelet::several_kubelets", several),
    ]
}

/// A program with a first argument, which is its script, killed when dropped.
struct Started {
    child: Child,
    folder: tempfile::TempDir,
}

impl Started {
    fn new(name: &str, command: &str, script: &str, flags: &[&str]) -> Result<Self> {
        let (folder, program) = fake::program(name)?;
        let script = format!("$| = 1; {script}; print \"ready\\n\"; <STDIN>; sleep 1000");
        fs::write(folder.path().join(command), script)?;
        let mut started = Command::new(program);
        started.arg(command).args(flags).current_dir(folder.path());
        let child = started.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut started = Self { child, folder };
        let mut line = String::new();
        BufReader::new(started.child.stdout.take().context("no output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "{name} did not get ready: {line:?}");
        Ok(started)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hyperkube() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "hyperkube")?;
    let flag = format!("--runtime-cgroups={}", top.name());
    let hyperkube = Started::new("hyperkube", "kubelet", "1", &[&flag])?;
    let report = ask(&daemon, hyperkube.child.id(), &["--hierarchy", "v2"])?;
    looks_up(&report, &top.name(), &flag)?;
    ensure!(on(&report, &top.name())?.present, "{report:#?}");
    // It has pods, like every kubelet.
    on(&report, "/kubepods").or_else(|_| on(&report, "/kubepods.slice"))?;
    Ok(())
}

fn k3s() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "k3s")?;
    let missing = top.name_of(&top.join("missing"));
    let data = tempfile::tempdir()?;
    let drop_ins = data.path().join("agent/etc/kubelet.conf.d");
    fs::create_dir_all(&drop_ins)?;
    let own = drop_ins.join("00-k3s-defaults.conf");
    fs::write(&own, format!("kubeletCgroups: {}\ncgroupsPerQOS: false\n", top.name()))?;
    let (data, passed) = (data.path().display().to_string(), format!("runtime-cgroups={missing}"));
    let flags = ["--data-dir", &data, "--kubelet-arg", &passed, "--cgroup-root=/not-of-kubelet"];
    let k3s = Started::new("k3s", "server", "1", &flags)?;
    let report = ask(&daemon, k3s.child.id(), &["--hierarchy", "v2"])?;
    looks_up(&report, &missing, &format!("--kubelet-arg {passed}"))?;
    looks_up(&report, &top.name(), &format!("kubeletCgroups: {} (in {})", top.name(), own.display()))?;
    ensure!(report.verdicts.len() == 2, "{report:#?}");
    ensure!(on(&report, &top.name())?.present, "{report:#?}");
    ensure!(!on(&report, &missing)?.present, "{report:#?}");
    Ok(())
}

/// As the real k3s does, so that nobody sees its token.
fn k3s_title() -> Outcome {
    let daemon = Daemon::start()?;
    let script = "$0 = '/usr/local/bin/k3s server'; open F, '>', '/proc/self/comm' or die; print F 'k3s-server'; \
                  close F or die";
    let k3s = Started::new("k3s", "server", script, &["--kubelet-arg=kubelet-cgroups=/hidden"])?;
    let report = ask(&daemon, k3s.child.id(), &["--hierarchy", "v2"])?;
    let observer = report.observer.as_ref().context("no observer")?;
    ensure!(observer.arguments == ["/usr/local/bin/k3s server"], "{observer:#?}");
    // It is recognized as a kubelet.
    on(&report, "/kubepods").or_else(|_| on(&report, "/kubepods.slice"))?;
    Ok(())
}

fn kubelite() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "kubelite")?;
    let snap = tempfile::tempdir()?;
    let arguments = snap.path().join("1234/args");
    fs::create_dir_all(&arguments)?;
    let config = arguments.join("kubelet-config");
    fs::write(&config, format!("{{\"systemCgroups\": \"{}\", \"cgroupsPerQOS\": false}}", top.name()))?;
    let file = arguments.join("kubelet");
    let other = top.name_of(&top.join("other"));
    fs::write(
        &file,
        format!("# flags\n--config=${{SNAP_DATA}}/args/kubelet-config\n--kubelet-cgroups=\"{other}\"\n"),
    )?;
    let flag = format!("--kubelet-args-file={}", file.display());
    let kubelite = Fake::start("kubelite", "1", &[&flag])?;
    let report = ask(&daemon, kubelite.pid(), &["--hierarchy", "v2"])?;
    looks_up(&report, &top.name(), &format!("systemCgroups: {}", top.name()))?;
    looks_up(&report, &other, &format!("--kubelet-cgroups={other} (in {})", file.display()))
}

/// Of several kubelets of root, none is selected silently.
fn several() -> Outcome {
    let daemon = Daemon::start()?;
    let kubelet = Fake::start("kubelet", "1", &[])?;
    let hyperkube = Started::new("hyperkube", "kubelet", "1", &[])?;
    let output = daemon.run(&["why", "--kubelet"])?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(2), "{text}");
    for pid in [kubelet.pid(), hyperkube.child.id()] {
        ensure!(text.contains(&format!("pid {pid}, uid 0")), "{text}");
    }
    ensure!(
        text.contains("--pid") && text.contains(&hyperkube.folder.path().display().to_string()),
        "{text}"
    );
    Ok(())
}
