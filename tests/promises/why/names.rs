//! Names that are written otherwise than the cgroup is called, and cgroups that are elsewhere.

use std::fs;

use anyhow::ensure;
use libtest_mimic::Trial;

use super::{ask, first, holds, line};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, mount, unique},
    daemon::Daemon,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("why::a_mount_path_in_the_name", mount_path),
        trial("why::present_on_one_hierarchy_only", present_elsewhere),
        trial("why::present_everywhere_is_seen", present),
        trial("why::a_typing_error", misspelt),
        trial("why::an_impossible_name_is_wrong_usage", impossible),
        trial("why::what_a_path_proves_is_told", proven),
    ]
}

/// A unit's cgroup on one hierarchy, in a slice of its own.
fn slice(hierarchy: &str, what: &str) -> anyhow::Result<Cgroup> {
    Cgroup::at(&mount(hierarchy)?, &format!("{}.slice", unique(what)))
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
        first(&verdict, "path-includes-mount")?;
        ensure!(!verdict.present && !verdict.visible, "{verdict:#?}");
        line(&verdict.remediation, &[&right])?;
        line(&verdict.evidence, &[&right, hierarchy, "present"])?;
        // Its state, too: the resource controllers lack it.
        if mount("memory").is_ok() {
            holds(&verdict, "present-elsewhere")?;
        }
        let output = daemon.run(&["why", &wrong])?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.code() == Some(1) && text.contains(&right), "{text}");
    }
    Ok(())
}

fn present_elsewhere() -> Outcome {
    mount("memory")
        .map_err(|_| skip("memory is on v2 here, so that nothing can be on name=systemd alone"))?;
    let slice = slice("name=systemd", "whyelsewhere")?;
    let daemon = Daemon::start()?;
    let unit = slice.join("cgtrace-b.service");
    fs::create_dir(&unit)?;
    let name = slice.name_of(&unit);
    let verdict = ask(&daemon, &name, None)?;
    first(&verdict, "present-elsewhere")?;
    ensure!(verdict.present && !verdict.visible, "{verdict:#?}");
    line(&verdict.evidence, &["name=systemd: present", "since"])?;
    line(&verdict.evidence, &["memory", "absent"])?;
    line(&verdict.remediation, &["systemctl set-property cgtrace-b.service", "MemoryAccounting=yes"])?;
    line(&verdict.remediation, &["do not put '/systemd'"])?;
    ensure!(daemon.run(&["why", &name])?.status.code() == Some(1), "not seen, and exit 0");
    // Whoever asks for the hierarchy that has it sees it.
    ensure!(
        daemon.run(&["why", &name, "--hierarchy", "name=systemd"])?.status.code() == Some(0),
        "seen there"
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

fn misspelt() -> Outcome {
    let slice = slice("v2", "whytypo")?;
    let daemon = Daemon::start()?;
    let unit = slice.join("cgtrace-kubelet.service");
    fs::create_dir(&unit)?;
    let right = slice.name_of(&unit);
    let wrong = right.replace("kubelet.service", "kubelte.service");
    let verdict = ask(&daemon, &wrong, None)?;
    first(&verdict, "similar-path-exists")?;
    line(&verdict.evidence, &[&right, "present on v2"])?;
    line(&verdict.remediation, &[&right])?;
    // A missing slash, and a missing type.
    for wrong in [&right[1..], right.strip_suffix(".service").unwrap_or_default()] {
        let verdict = ask(&daemon, wrong, None)?;
        first(&verdict, "similar-path-exists")?;
        line(&verdict.evidence, &[&right])?;
    }
    // A name that was, too.
    fs::remove_dir(&unit)?;
    let verdict = ask(&daemon, &wrong, None)?;
    line(&verdict.evidence, &[&right, "removed at"])?;
    Ok(())
}

fn impossible() -> Outcome {
    let daemon = Daemon::start()?;
    for wrong in ["", "/a\nb"] {
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

fn proven() -> Outcome {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let slice = slice("v2", "whyproven")?;
    let daemon = Daemon::start()?;
    let scope = slice.join(format!("cri-containerd-{ID}.scope"));
    fs::create_dir(&scope)?;
    let name = slice.name_of(&scope);
    let show = daemon.run(&["show", &name, "--json"])?;
    let why = daemon.run(&["why", &name, "--json"])?;
    let events = daemon.run(&["events", &name, "--since-seq", "0", "--count", "1", "--json"])?;
    let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
    let told = [
        read(&show.stdout)?["results"][0].clone(),
        read(&why.stdout)?["verdicts"][0]["result"].clone(),
        read(&events.stdout)?,
    ];
    for told in told {
        ensure!(told["container_id"] == ID && told["runtime"] == "containerd", "{told}");
        ensure!(told["unit"] == format!("cri-containerd-{ID}.scope"), "{told}");
        ensure!(told["slice"] == slice.name()[1..], "{told}");
    }
    Ok(())
}
