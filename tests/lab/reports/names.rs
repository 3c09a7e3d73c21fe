//! Names of cgroups as people have them: reports in which a cgroup existed under another name than the one that was
//! asked for. Each test brings the situation about, asks `why`, and follows the first remedy.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use cgtrace_host::hierarchy::discover;
use cgtrace_why::report::{Cause, Report, Verdict};
use libtest_mimic::Trial;

use super::settings::{finding, says, why};
use crate::{
    lab::runtimes::scene::{Cleanup, Scene, id, run},
    support::{
        Outcome,
        cgroup::{Cgroup, mount, unique},
        daemon::Daemon,
        lab,
        process::{Sleeper, put},
        skip, trial,
    },
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::names::the_number_that_lxc_adds", lxc_number),
        trial("reports::names::an_expanded_slice_with_a_stray_twin", slice_expansion),
        trial("reports::names::a_doubled_path", doubled),
        trial("reports::names::the_same_name_below_a_pod", below_a_pod),
        trial("reports::names::the_other_drivers_spelling", other_driver),
        trial("reports::names::a_whole_line_of_the_kubelet", kubelet_line),
        trial("reports::names::a_kernel_line_about_memory", kernel_line),
    ]
}

/// Fails unless the first cause is a similar path, for this reason, and the first remedy is the right path.
fn is_similar(verdict: &Verdict, right: &str, reason: &str) -> Outcome {
    ensure!(verdict.cause == Cause::SimilarPathExists, "{verdict:#?}");
    let found = finding(verdict, Cause::SimilarPathExists)?;
    says(&found, &[right, "present", reason])?;
    ensure!(found.remediation[0].text == format!("use '{right}'"), "{found:#?}");
    Ok(())
}

/// Follows the first remedy `use 'PATH'`: that path exists.
fn follow_use(daemon: &Daemon, verdict: &Verdict) -> Outcome {
    let found = finding(verdict, Cause::SimilarPathExists)?;
    let text = &found.remediation.first().context("no remedy")?.text;
    let path = text.strip_prefix("use '").and_then(|rest| rest.strip_suffix('\'')).context("no path")?;
    ensure!(daemon.run(&["exists", "-q", path])?.status.code() == Some(0), "{text}");
    Ok(())
}

/// cockpit#418: a cgroup of LXC was left over, so the container is in one with a number.
fn lxc_number() -> Outcome {
    lab::program("lxc-start")?;
    let name = unique("lxc");
    let payload = format!("lxc.payload.{name}");
    let twin = format!("{payload}-1");
    let scene = Scene::new(&["lxc.pivot", &format!("lxc.monitor.{name}"), &payload, &twin])?;
    for mount in discover()?.into_iter().filter_map(|found| found.mount) {
        fs::create_dir(mount.path.join(&payload)).or_else(|error| match error.kind() {
            // Mounted in several places.
            std::io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
    }
    let config = scene.folder().join("lxc.conf");
    let root = scene.root();
    fs::write(
        &config,
        format!(
            "lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\nlxc.net.0.type = none\nlxc.init.cmd = /bin/sleep 1000\n\
             lxc.apparmor.profile = unconfined\n",
            root.display()
        ),
    )?;
    let folder = scene.folder().to_owned();
    let lxc = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.arg("--lxcpath").arg(&folder).args(["--name", &name]).args(words);
        command
    };
    let _cleanup = Cleanup(vec![lxc("lxc-stop", &["--kill"])]);
    run(&mut lxc("lxc-start", &["--daemon", "--rcfile", &config.to_string_lossy()]))?;
    let daemon = scene.daemon();
    let wait = ["wait", "-q", &format!("/{twin}"), "--until", "populated", "--timeout", "30s"];
    ensure!(daemon.run(&wait)?.status.success(), "LXC did not choose {twin}");
    // By its path, and by its name alone.
    for asked in [format!("/{payload}"), name.clone()] {
        let (verdict, _) = why(daemon, &[&asked, "--hierarchy", "v2"])?;
        ensure!(verdict.present && verdict.path == format!("/{payload}"), "{verdict:#?}");
        let found = finding(&verdict, Cause::SimilarPathExists)?;
        says(
            &found,
            &[&format!("'/{payload}' contains no process"), &format!("'/{twin}' has some"), "LXC adds"],
        )?;
        ensure!(found.remediation[0].text == format!("use '/{twin}'"), "{found:#?}");
        follow_use(daemon, &verdict)?;
    }
    // Once the other one is gone, the name leads to the one that lives.
    for mount in discover()?.into_iter().filter_map(|found| found.mount) {
        let _ = fs::remove_dir(mount.path.join(&payload));
    }
    let output = daemon.run(&["exists", "--json", &name])?;
    let found: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(found["path"] == format!("/{twin}"), "{found}");
    run(&mut lxc("lxc-stop", &["--kill"])).map(drop)
}

/// containerd/cgroups#221: a program uses `/my-foo-group.slice`, the service manager the expanded path.
fn slice_expansion() -> Outcome {
    let daemon = Daemon::start()?;
    let v2 = mount("v2")?;
    let name = format!("{}.slice", unique("group"));
    let expanded = cgtrace_paths::expand_slice(&name).context("not a slice")?;
    // The name of a slice decides where it is: its first part cannot be longer.
    let top = v2.join("cgtrace.slice");
    if top.exists() {
        return Err(skip("/cgtrace.slice exists"));
    }
    let top = Cgroup::at(&v2, "cgtrace.slice")?;
    let real = v2.join(&expanded[1..]);
    ensure!(real.starts_with(top.path()), "{}", real.display());
    fs::create_dir_all(&real)?;
    let sleeper = Sleeper::start()?;
    put(&real, "cgroup.procs", sleeper.pid())?;
    let asked = format!("/{name}");
    let (verdict, _) = why(&daemon, &[&asked, "--hierarchy", "v2"])?;
    is_similar(&verdict, &expanded, "its slices are not nested as their names imply")?;
    follow_use(&daemon, &verdict)?;
    // With the stray twin that a program then creates.
    let _stray = Cgroup::at(&v2, &name)?;
    let (verdict, _) = why(&daemon, &[&asked, "--hierarchy", "v2"])?;
    ensure!(verdict.present, "{verdict:#?}");
    let found = finding(&verdict, Cause::SimilarPathExists)?;
    says(&found, &[&format!("'{asked}' contains no process"), &format!("'{expanded}' has some")])?;
    follow_use(&daemon, &verdict)
}

/// cgroups-rs#131: in a container, the path is joined to a mount point that already ends in it.
fn doubled() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "doubled")?;
    let container = format!("docker/{}", id()?);
    fs::create_dir_all(top.join(&container))?;
    let right = top.name_of(&top.join(&container));
    let (verdict, _) = why(&daemon, &[&format!("{right}/{container}"), "--hierarchy", "v2"])?;
    is_similar(&verdict, &right, "a part of it is doubled")?;
    for finding in verdict.findings() {
        ensure!(!format!("{finding:?}").contains("other cgroup driver"), "{finding:#?}");
    }
    follow_use(&daemon, &verdict)
}

/// slurm-k8s-cluster#38: slurmd in a pod creates its scope below the pod's cgroup.
fn below_a_pod() -> Outcome {
    let daemon = Daemon::start()?;
    let pod = Cgroup::new("v2", "pod")?;
    let scope = format!("/system.slice/{}.scope", unique("slurmstepd"));
    fs::create_dir_all(pod.join(&scope[1..]))?;
    let right = format!("{}{scope}", pod.name());
    let (verdict, _) = why(&daemon, &[&scope, "--hierarchy", "v2"])?;
    is_similar(&verdict, &right, &format!("the same path below '{}'", pod.name()))?;
    follow_use(&daemon, &verdict)
}

/// The kubelet and the runtime use different cgroup drivers: the same container, spelled as the other would.
fn other_driver() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::at(&mount("v2")?, &format!("{}.slice", unique("driver")))?;
    let id = id()?;
    fs::create_dir(top.join(format!("cri-containerd-{id}.scope")))?;
    let right = format!("{}/cri-containerd-{id}.scope", top.name());
    for asked in [
        format!("/kubepods/burstable/podc6e8a3c4-9f5b-4f0e-9a55-1f8b3e6d7c21/{id}"),
        format!("/docker/{id}"),
        format!("/docker/{}", &id[..32]),
    ] {
        let (verdict, _) = why(&daemon, &[&asked, "--hierarchy", "v2"])?;
        is_similar(&verdict, &right, "container")?;
        follow_use(&daemon, &verdict)?;
    }
    // The form that runtimes are given leads there by itself.
    let (verdict, _) = why(&daemon, &[&format!("kubepods.slice:cri-containerd:{id}"), "--hierarchy", "v2"])?;
    ensure!(verdict.present && verdict.path == right, "{verdict:#?}");
    Ok(())
}

/// kubernetes#56850: a whole line of the log, and the log itself.
fn kubelet_line() -> Outcome {
    let daemon = Daemon::start()?;
    let hierarchy = if mount("name=systemd").is_ok() { "name=systemd" } else { "v2" };
    let top = Cgroup::at(&mount(hierarchy)?, &format!("{}.slice", unique("kubelet")))?;
    let (right, wrong) = (top.name(), format!("/systemd{}", top.name()));
    let line = format!(
        "Jul 09 11:29:34 host-1 kubelet[812]: E0709 11:29:34.878237     812 summary_sys_containers.go:47] Failed to get \
         system container stats for \"{wrong}\": failed to get cgroup stats for \"{wrong}\": failed to get container info \
         for \"{wrong}\": unknown container \"{wrong}\""
    );
    let (verdict, _) = why(&daemon, &[&line])?;
    ensure!(verdict.cause == Cause::PathIncludesMount && verdict.path == wrong, "{verdict:#?}");
    let found = finding(&verdict, Cause::PathIncludesMount)?;
    says(&found, &[&right, hierarchy, "present"])?;
    ensure!(found.remediation[0].text == format!("use '{right}'"), "{found:#?}");
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), format!("{line}\r\n").repeat(1_000))?;
    let report = explained(&daemon, file.path())?;
    ensure!(report.verdicts.len() == 1, "{report:#?}");
    let first = &report.verdicts[0];
    ensure!(first.cause == Cause::PathIncludesMount && first.path == wrong, "{first:#?}");
    ensure!(first.resolution.as_ref().is_some_and(|found| found.mentions == Some(1_000)), "{first:#?}");
    Ok(())
}

/// gpud#70: the kernel's line about a container that was killed; its cgroup is gone.
fn kernel_line() -> Outcome {
    let daemon = Daemon::start()?;
    let (parent, path) = {
        let top = Cgroup::at(&mount("v2")?, &format!("{}.slice", unique("oom")))?;
        let scope = top.join(format!("cri-containerd-{}.scope", id()?));
        fs::create_dir(&scope)?;
        (top.name(), top.name_of(&scope))
    };
    let line = format!(
        "kernel: oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=x,mems_allowed=0-1,oom_memcg={parent},\
         task_memcg={path},task=pt_main_thread,pid=461754,uid=0\n"
    );
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), &line)?;
    let report = explained(&daemon, file.path())?;
    let found: Vec<(&str, Cause)> =
        report.verdicts.iter().map(|verdict| (verdict.path.as_str(), verdict.cause)).collect();
    ensure!(found == [(parent.as_str(), Cause::Removed), (&path, Cause::Removed)], "{found:?}");
    Ok(())
}

/// What `why -` says about a log.
fn explained(daemon: &Daemon, log: &std::path::Path) -> Result<Report> {
    let output = daemon.command().args(["why", "-", "--json"]).stdin(fs::File::open(log)?).output()?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
}
