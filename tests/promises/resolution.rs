//! Whatever a person has of a cgroup leads to it: a name, an id, a file's path, a line of a log, a log.

use std::{
    fs,
    io::Write as _,
    process::{Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::report::Report;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, mount, unique},
    daemon::Daemon,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("resolution::a_text_leads_to_its_cgroup", texts),
        trial("resolution::a_path_that_exists_is_never_anything_else", literal),
        trial("resolution::an_ambiguous_name_lists_its_candidates", ambiguous),
        trial("resolution::the_shallowest_is_meant_and_the_others_are_shown", also),
        trial("resolution::a_name_that_was_never_seen", never_seen),
        trial("resolution::a_removed_cgroup_keeps_its_name", removed),
        trial("resolution::a_line_names_its_hierarchy", hierarchy),
        trial("resolution::a_controller_of_v2_is_a_hierarchy", controller),
        trial("resolution::why_reads_a_log", log),
        trial("resolution::a_log_is_explained_within_limits", long_log),
        trial("resolution::a_log_without_cgroups", empty_log),
    ]
}

/// Another one, because tests run at the same time.
const LOGGED_ID: &str = "f0d2e3f4a5b60718293a4b5c6d7e8f90c1d2e3f4a5b60718293a4b5c6d7e8f90";

const ID: &str = "c1d2e3f4a5b60718293a4b5c6d7e8f90c1d2e3f4a5b60718293a4b5c6d7e8f90";

fn document(output: &Output) -> Result<Value> {
    serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
}

/// Fails unless `exists` and `show` resolve the text to the path and find it.
fn leads_to(daemon: &Daemon, text: &str, path: &str) -> Outcome {
    for command in ["exists", "show"] {
        let output = daemon.run(&[command, "--json", "--", text])?;
        let document = document(&output).with_context(|| format!("{command} {text:?}"))?;
        ensure!(output.status.code() == Some(0), "{command} {text:?}: {document}");
        ensure!(document["resolution"]["path"] == path, "{command} {text:?}: {}", document["resolution"]);
    }
    Ok(())
}

fn texts() -> Outcome {
    let top = Cgroup::new(any(), "texts")?;
    let daemon = Daemon::start()?;
    let unit = unique("web");
    let scope = format!("docker-{ID}.scope");
    let slice = format!("{unit}.slice");
    for leaf in [&format!("{unit}.service"), &scope, &slice] {
        fs::create_dir(top.join(leaf))?;
    }
    let [service, scope, slice] =
        [format!("{unit}.service"), scope, slice].map(|leaf| top.name_of(&top.join(leaf)));
    let directory = mount(any())?.join(&service[1..]).display().to_string();
    let table = [
        (unit.clone(), &service),
        (format!("{unit}.service"), &service),
        (format!("{unit}.service\r\n"), &service),
        (format!("\"{service}\","), &service),
        (service[1..].to_owned(), &service),
        (service.replacen('/', "//", 1).replace("/cg", "/./cg"), &service),
        (directory.clone(), &service),
        (format!("{directory}/cgroup.procs"), &service),
        (format!("/proc/1/root{directory}"), &service),
        (format!("/host{directory}/"), &service),
        (format!("0::{service} (deleted)").replacen("0::", "x: ", 1), &service),
        (format!("--kubelet-cgroups={service}"), &service),
        (format!("kubeletCgroups: '{service}'"), &service),
        (format!("     CGroup: {service}"), &service),
        (format!("             └─{unit}.service"), &service),
        (format!("E1130 13:00:00.1 1 x.go:48] unknown container \\\"{service}\\\""), &service),
        (format!("http://localhost:8080/api/v1.3/containers{}", service.replace('/', "%2F")), &service),
        (slice[1..].to_owned(), &slice),
        (format!("ctr/{}", &ID[..6]), &scope),
        (ID[..13].to_owned(), &scope),
        (format!("containerd://{ID}"), &scope),
        (format!("system.slice:docker:{ID}"), &scope),
        (format!("cri-containerd-{ID}.scope: Deactivated successfully."), &scope),
        (format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/rootfs"), &scope),
    ];
    for (text, path) in &table {
        // A path in quotes is the path.
        if text.contains(path.as_str()) && !text.contains("/sys/fs/cgroup") && !text.contains(&directory) {
            let output = daemon.run(&["exists", "--json", "--", text])?;
            ensure!(document(&output)?["path"] == **path, "{text:?}: {output:?}");
        } else {
            leads_to(&daemon, text, path)?;
        }
    }
    // In text, the resolution is the first line.
    for command in [&["exists"][..], &["show"], &["why"], &["wait", "--timeout", "9s"]] {
        let output = daemon.run(&[command, &[&unit]].concat())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(text.starts_with(&format!("{unit} → {service}\n")), "{command:?}: {text}");
    }
    let output = daemon.run(&["exists", "-q", &unit])?;
    ensure!(output.stdout.is_empty() && output.status.code() == Some(0), "{output:?}");
    let waited = document(&daemon.run(&["wait", "--json", &unit])?)?;
    ensure!(waited["reached"] == true && waited["resolution"]["path"] == service, "{waited}");
    Ok(())
}

fn literal() -> Outcome {
    let top = Cgroup::new("v2", "literal")?;
    let daemon = Daemon::start()?;
    // Each looks like something else: a line with a path, a file of a cgroup, a doubled path.
    for leaf in ["a b: /c.slice", "tasks", "docker-x (deleted)", "a.service"] {
        fs::create_dir_all(top.join(leaf))?;
        let path = top.name_of(&top.join(leaf));
        for command in ["exists", "show"] {
            let output = daemon.run(&[command, "--json", &path])?;
            let document = document(&output)?;
            ensure!(
                output.status.code() == Some(0) && document["resolution"].is_null(),
                "{command}: {document}"
            );
        }
        let report: Report = serde_json::from_slice(&daemon.run(&["why", "--json", &path])?.stdout)?;
        ensure!(report.verdicts[0].present && report.verdicts[0].path == path, "{report:#?}");
    }
    Ok(())
}

fn ambiguous() -> Outcome {
    let (one, two) = (Cgroup::new(any(), "ambiguous")?, Cgroup::new(any(), "ambiguous")?);
    let daemon = Daemon::start()?;
    let unit = unique("twice");
    for top in [&one, &two] {
        fs::create_dir(top.join(format!("{unit}.service")))?;
    }
    for command in ["exists", "show", "wait", "why"] {
        let output = daemon.run(&[command, &unit])?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{command}: {output:?}");
        for part in ["is ambiguous; specify one of these paths:", &one.name(), &two.name()] {
            ensure!(text.contains(part), "{command}: {part}: {text}");
        }
    }
    Ok(())
}

fn also() -> Outcome {
    let top = Cgroup::new(any(), "also")?;
    let daemon = Daemon::start()?;
    let unit = unique("also");
    let (near, far) = (top.join(format!("{unit}.service")), top.join(format!("payload/{unit}.service")));
    fs::create_dir(&near)?;
    fs::create_dir_all(&far)?;
    let [near, far] = [top.name_of(&near), top.name_of(&far)];
    let output = daemon.run(&["exists", &unit])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(text.starts_with(&format!("{unit} → {near} (also: {far})\n")), "{text}");
    let document = document(&daemon.run(&["exists", "--json", &unit])?)?;
    ensure!(document["path"] == near && document["resolution"]["also"][0] == far, "{document}");
    Ok(())
}

fn never_seen() -> Outcome {
    let daemon = Daemon::start()?;
    let path = "/system.slice/cgtrace-test-none.service";
    for name in ["cgtrace-test-none", "cgtrace-test-none.service"] {
        let output = daemon.run(&["exists", "--json", name])?;
        let document = document(&output)?;
        ensure!(output.status.code() == Some(1), "{document}");
        ensure!(document["path"] == path && document["resolution"]["assumed"] == true, "{document}");
        let output = daemon.run(&["wait", name, "--timeout", "10ms"])?;
        ensure!(output.status.code() == Some(1), "{output:?}");
        ensure!(
            String::from_utf8_lossy(&output.stdout).contains("where systemd would place it"),
            "{output:?}"
        );
    }
    for unknown in ["ctr/0a1b2c3d4e5f", "pod/c6e8a3c4-9f5b-4f0e-9a55-000000000000"] {
        for command in ["exists", "show", "why"] {
            let output = daemon.run(&[command, unknown])?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(
                output.status.code() == Some(1) && text.contains("cgtrace list"),
                "{command}: {output:?}"
            );
        }
    }
    Ok(())
}

fn removed() -> Outcome {
    let daemon = Daemon::start()?;
    let unit = unique("gone");
    let path = {
        let top = Cgroup::new(any(), "removed")?;
        fs::create_dir(top.join(format!("{unit}.service")))?;
        top.name_of(&top.join(format!("{unit}.service")))
    };
    let output = daemon.run(&["exists", "--json", &unit])?;
    let found = document(&output)?;
    ensure!(output.status.code() == Some(1) && found["path"] == path, "{found}");
    ensure!(found["resolution"]["assumed"] == false, "{found}");
    let shown = daemon.run(&["show", "--json", &unit])?;
    ensure!(shown.status.code() == Some(0) && document(&shown)?["results"][0]["path"] == path, "{shown:?}");
    let report: Report = serde_json::from_slice(&daemon.run(&["why", "--json", &unit])?.stdout)?;
    ensure!(report.verdicts[0].cause.as_str() == "removed", "{report:#?}");
    Ok(())
}

fn hierarchy() -> Outcome {
    let v1 = mount("pids").map_err(|_| skip("v2 is the only hierarchy here"))?;
    let top = Cgroup::new("v2", "hierarchy")?;
    let daemon = Daemon::start()?;
    let name = top.name();
    let code = |text: &str| Ok::<_, anyhow::Error>(daemon.run(&["exists", text])?.status.code());
    ensure!(code(&format!("0::{name}"))? == Some(0));
    ensure!(code(&format!("4:pids:{name}"))? == Some(1));
    ensure!(code(&v1.join(&name[1..]).display().to_string())? == Some(1));
    // One that this machine lacks says nothing.
    ensure!(code(&format!("4:name=cgtrace-test-none:{name}"))? == Some(0));
    let line = format!("4:pids:{name}");
    let report: Report = serde_json::from_slice(&daemon.run(&["why", "--json", &line])?.stdout)?;
    ensure!(report.verdicts[0].cause.as_str() == "present-elsewhere", "{report:#?}");
    let report: Report =
        serde_json::from_slice(&daemon.run(&["why", "--json", &format!("0::{name}")])?.stdout)?;
    ensure!(report.verdicts[0].cause.as_str() == "present", "{report:#?}");
    Ok(())
}

fn controller() -> Outcome {
    let controllers = fs::read_to_string(mount("v2")?.join("cgroup.controllers"))?;
    let controller =
        controllers.split_whitespace().next().context("none").map_err(|_| skip("v2 has no controller"))?;
    let top = Cgroup::new("v2", "controller")?;
    let daemon = Daemon::start()?;
    for arguments in [
        &["exists", &top.name()][..],
        &["show", &top.name()],
        &["wait", &top.name()],
        &["list", &top.name()],
        &["tree", &top.name()],
    ] {
        let output = daemon.run(&[arguments, &["-H", controller]].concat())?;
        let note = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(0), "{arguments:?}: {output:?}");
        ensure!(note.contains(&format!("{controller} is a controller of v2")), "{arguments:?}: {note}");
    }
    Ok(())
}

/// What `why -` prints as JSON for a log, and its exit code.
fn explained(daemon: &Daemon, log: &str) -> Result<(Output, Option<Report>)> {
    let mut command = daemon.command();
    command.args(["why", "-", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("no stdin")?.write_all(log.as_bytes())?;
    let output = child.wait_with_output()?;
    let report = serde_json::from_slice(&output.stdout).ok();
    Ok((output, report))
}

fn log() -> Outcome {
    let top = Cgroup::new(any(), "log")?;
    let daemon = Daemon::start()?;
    let unit = unique("logged");
    let scope = format!("docker-{LOGGED_ID}.scope");
    for leaf in [&format!("{unit}.service"), &scope] {
        fs::create_dir(top.join(leaf))?;
    }
    let [service, scope] = [format!("{unit}.service"), scope].map(|leaf| top.name_of(&top.join(leaf)));
    let log = format!(
        "systemd[1]: Started {unit}.service - x.\r\ncontainerd: cleanup id={LOGGED_ID}\n\nE1 unknown container \"{service}\"\n\
         GET /cgtrace-test-healthz\nmkdir {}/cgroup.procs: no\nwarning: container deadbeef0123456 is unknown\n",
        mount(any())?.join(&service[1..]).display()
    );
    let (output, report) = explained(&daemon, &log)?;
    let report = report.with_context(|| format!("{output:?}"))?;
    let found: Vec<(&str, Option<u64>, Option<u64>)> = report
        .verdicts
        .iter()
        .map(|verdict| {
            let resolution = verdict.resolution.as_ref();
            let counts =
                resolution.map(|resolution| (resolution.mentions, resolution.line)).unwrap_or_default();
            (verdict.path.as_str(), counts.0, counts.1)
        })
        .collect();
    ensure!(found == [(service.as_str(), Some(3), Some(1)), (&scope, Some(1), Some(2))], "{found:?}");
    ensure!(report.notes.iter().any(|note| note.contains("container deadbeef0123456")), "{:?}", report.notes);
    Ok(())
}

fn long_log() -> Outcome {
    let daemon = Daemon::start()?;
    let lines = (0..5_000).map(|number| format!("mkdir /sys/fs/cgroup/cgtrace-test-{number}: no"));
    let log = lines.collect::<Vec<_>>().join("\n");
    let (output, report) = explained(&daemon, &log)?;
    let report = report.with_context(|| format!("{output:?}"))?;
    ensure!(output.status.code() == Some(1) && report.verdicts.len() == 16, "{}", report.verdicts.len());
    for note in ["mentions 4080 more cgroups", "904 later mentions"] {
        ensure!(report.notes.iter().any(|other| other.contains(note)), "{note}: {:?}", report.notes);
    }
    Ok(())
}

fn empty_log() -> Outcome {
    let daemon = Daemon::start()?;
    for log in ["", "GET /healthz 200\nnothing here\n"] {
        let (output, _) = explained(&daemon, log)?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && text.contains("the log mentions no cgroup"), "{output:?}");
    }
    Ok(())
}
