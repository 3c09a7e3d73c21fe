//! Paths that differ from the cgroup's, and cgroups that exist on other hierarchies only.

use std::fs;

use anyhow::ensure;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{ask, finding, first, line};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount, unique},
    daemon::Daemon,
    fake::Fake,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::a_mount_point_in_the_path", mount_path),
        trial("why::present_on_one_hierarchy_only", present_elsewhere),
        trial("why::present_everywhere_is_visible", present),
        trial("why::a_typing_error", similar_path),
        trial("why::an_invalid_path_is_a_usage_error", invalid),
        trial("why::data_parsed_from_the_path_is_reported", parsed),
    ]
}

/// A slice on one hierarchy.
fn slice(hierarchy: &str, label: &str) -> anyhow::Result<Cgroup> {
    Cgroup::at(&mount(hierarchy)?, &format!("{}.slice", unique(label)))
}

fn mount_path() -> Outcome {
    let hierarchy = if mount("name=systemd").is_ok() { "name=systemd" } else { "v2" };
    let slice = slice(hierarchy, "whymount")?;
    let daemon = Daemon::start()?;
    let unit = slice.join("cgtrace-a.service");
    fs::create_dir(&unit)?;
    let right = slice.name_of(&unit);
    let mut all_wrong = vec![unit.display().to_string()];
    if hierarchy == "name=systemd" {
        all_wrong.push(format!("/systemd{right}"));
    }
    for wrong in all_wrong {
        let verdict = ask(&daemon, &wrong, None)?;
        first(&verdict, Cause::PathIncludesMount)?;
        ensure!(!verdict.present && !verdict.visible, "{verdict:#?}");
        line(&verdict.remediation, &[&right])?;
        line(&verdict.evidence, &[&right, hierarchy, "present"])?;
        // Also its state: it does not exist on the resource controllers.
        if mount("memory").is_ok() {
            finding(&verdict, Cause::PresentElsewhere)?;
        }
        let output = daemon.run(&["why", &wrong])?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.code() == Some(1) && text.contains(&right), "{text}");
    }
    Ok(())
}

fn present_elsewhere() -> Outcome {
    mount("memory").map_err(|_| skip("memory is on v2 here, so nothing can exist on name=systemd only"))?;
    let slice = slice("name=systemd", "whyelsewhere")?;
    let daemon = Daemon::start()?;
    let unit = slice.join("cgtrace-b.service");
    fs::create_dir(&unit)?;
    let name = slice.name_of(&unit);
    // That matters to those who read the controllers.
    let verdict = ask(&daemon, &name, None)?;
    first(&verdict, Cause::Present)?;
    ensure!(verdict.visible, "{verdict:#?}");
    finding(&verdict, Cause::PresentElsewhere)?;
    ensure!(daemon.run(&["why", &name])?.status.code() == Some(0), "visible, but not exit code 0");
    let cadvisor = Fake::start("cadvisor", "1", &[])?;
    let verdict = ask(&daemon, &name, Some(cadvisor.pid()))?;
    first(&verdict, Cause::PresentElsewhere)?;
    ensure!(verdict.present && !verdict.visible, "{verdict:#?}");
    line(&verdict.evidence, &["name=systemd: present", "created at"])?;
    line(&verdict.evidence, &["memory", "absent"])?;
    // No service manager runs a unit in it.
    line(
        &verdict.remediation,
        &["create the cgroup on", "memory", &format!("mkdir -p {}", mount("memory")?.display())],
    )?;
    ensure!(line(&verdict.remediation, &["MemoryAccounting"]).is_err(), "{verdict:#?}");
    let pid = cadvisor.pid().to_string();
    ensure!(
        daemon.run(&["why", &name, "--pid", &pid])?.status.code() == Some(1),
        "not visible, but exit code 0"
    );
    // It is visible on the hierarchy that has it.
    ensure!(
        daemon.run(&["why", &name, "--hierarchy", "name=systemd"])?.status.code() == Some(0),
        "not visible there"
    );
    Ok(())
}

fn present() -> Outcome {
    let daemon = Daemon::start()?;
    let output = daemon.run(&["why", "/"])?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.code() == Some(0) && text.starts_with("/: present\n"), "{text}");
    Ok(())
}

fn similar_path() -> Outcome {
    let slice = slice("v2", "whytypo")?;
    let daemon = Daemon::start()?;
    let unit = slice.join("cgtrace-kubelet.service");
    fs::create_dir(&unit)?;
    let right = slice.name_of(&unit);
    let wrong = right.replace("kubelet.service", "kubelte.service");
    let verdict = ask(&daemon, &wrong, None)?;
    first(&verdict, Cause::SimilarPathExists)?;
    line(&verdict.evidence, &[&right, "present on v2"])?;
    line(&verdict.remediation, &[&right])?;
    // Without the unit type.
    let verdict = ask(&daemon, right.strip_suffix(".service").unwrap_or_default(), None)?;
    first(&verdict, Cause::SimilarPathExists)?;
    line(&verdict.evidence, &[&right])?;
    // Without the leading slash, only that path can be meant.
    let verdict = ask(&daemon, &right[1..], None)?;
    ensure!(verdict.present && verdict.path == right, "{verdict:#?}");
    ensure!(verdict.resolution.is_some_and(|resolution| resolution.given == right[1..]));
    // Also a previous path.
    fs::remove_dir(&unit)?;
    let verdict = ask(&daemon, &wrong, None)?;
    line(&verdict.evidence, &[&right, "removed at"])?;
    Ok(())
}

fn invalid() -> Outcome {
    let daemon = Daemon::start()?;
    for wrong in ["", "a\nb"] {
        let output = daemon.run(&["why", wrong])?;
        ensure!(output.status.code() == Some(2), "{wrong:?}: {output:?}");
    }
    for arguments in
        [&["why"][..], &["why", "--process", "x"], &["why", "/a", "--pid", "1", "--process", "x"]]
    {
        let output = daemon.run(arguments)?;
        ensure!(output.status.code() == Some(2), "{arguments:?}: {output:?}");
    }
    Ok(())
}

fn parsed() -> Outcome {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let slice = slice("v2", "whyproven")?;
    let daemon = Daemon::start()?;
    let scope = slice.join(format!("cri-containerd-{ID}.scope"));
    fs::create_dir(&scope)?;
    let name = slice.name_of(&scope);
    let show = daemon.run(&["show", &name, "--json"])?;
    let why = daemon.run(&["why", &name, "--json"])?;
    // Its first line is the gap before the history.
    let events = daemon.run(&["log", &name, "--kind", "mkdir", "--json"])?;
    let event = events.stdout.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()).unwrap_or_default();
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
    let documents = [
        read(&show.stdout)?["results"][0].clone(),
        read(&why.stdout)?["verdicts"][0]["result"].clone(),
        read(event)?,
    ];
    for document in documents {
        ensure!(document["container_id"] == ID && document["runtime"] == "containerd", "{document}");
        ensure!(document["unit"] == format!("cri-containerd-{ID}.scope"), "{document}");
        ensure!(document["slice"] == slice.name()[1..], "{document}");
    }
    Ok(())
}
