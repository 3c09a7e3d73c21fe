//! Configuration files, and what quotation marks do to flags.

use std::fs;

use anyhow::ensure;
use cgtrace_why::report::Cause;
use libtest_mimic::Trial;

use super::{ask, finding, looks_up, on, says};
use crate::support::{Outcome, cgroup::Cgroup, daemon::Daemon, fake::Fake, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::kubelet::drop_ins_override_in_lexical_order", config_dir),
        trial("reports::kubelet::every_style_of_yaml", styles),
        trial("reports::kubelet::quotation_marks_in_a_value", quotes),
        trial("reports::kubelet::two_flags_in_one_argument", joined),
    ]
}

fn config_dir() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "configdir")?;
    let path = |name: &str| top.name_of(&top.join(name));
    fs::create_dir(top.join("last"))?;
    let folder = tempfile::tempdir()?;
    let drop_ins = folder.path().join("kubelet.conf.d");
    fs::create_dir_all(drop_ins.join("20-more"))?;
    let config = folder.path().join("config.yaml");
    fs::write(&config, format!("kubeletCgroups: {}\nsystemCgroups: {}\n", path("first"), path("system")))?;
    fs::write(drop_ins.join("10-a.conf"), format!("kubeletCgroups: {}\n", path("ten")))?;
    fs::write(drop_ins.join("20-more/b.conf"), format!("{{\"kubeletCgroups\": \"{}\"}}", path("last")))?;
    fs::write(drop_ins.join("30-ignored.yaml"), "kubeletCgroups: /no\n")?;
    fs::write(drop_ins.join("40-qos.conf"), "cgroupsPerQOS: false\nsystemCgroups: null\n")?;
    let flags = [
        format!("--config={}", config.display()),
        format!("--config-dir={}", drop_ins.display()),
        format!("--runtime-cgroups={}", path("runtime")),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let kubelet = Fake::start("kubelet", "1", &flags)?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    let file = drop_ins.join("20-more/b.conf");
    looks_up(&report, &path("last"), &format!("kubeletCgroups: {} (in {})", path("last"), file.display()))?;
    looks_up(&report, &path("runtime"), flags[2])?;
    ensure!(report.verdicts.len() == 2 && on(&report, &path("last"))?.present, "{report:#?}");
    // A file that kubelet would refuse is reported.
    fs::write(drop_ins.join("50-broken.conf"), "kubeletCgroups: [\n")?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    let broken = |note: &String| note.contains("50-broken.conf was not read: it is not valid YAML");
    ensure!(report.notes.iter().any(broken), "{:#?}", report.notes);
    Ok(())
}

fn styles() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "styles")?;
    let name = top.name();
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config");
    let flag = format!("--config={}", config.display());
    let kubelet = Fake::start("kubelet", "1", &[&flag])?;
    for yaml in [
        format!("\"kubeletCgroups\": \"{name}\"\n'cgroupsPerQOS': false\n"),
        format!("{{kubeletCgroups: {name}, cgroupsPerQOS: false}}\n"),
        format!("---\n  kubeletCgroups: {name}\n  cgroupsPerQOS: false\n"),
        format!("kubeletCgroups: >-\n  {name}\ncgroupsPerQOS: no\n"),
        format!("x: &path {name}\nkubeletCgroups: *path\ncgroupsPerQOS: false # not needed\n"),
        format!("{{\n\t\"kubeletCgroups\": \"{name}\",\n\t\"cgroupsPerQOS\": false\n}}\n"),
    ] {
        fs::write(&config, &yaml)?;
        let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
        looks_up(&report, &name, &format!("kubeletCgroups: {name}"))?;
        ensure!(report.verdicts.len() == 1 && report.verdicts[0].present, "{yaml}: {report:#?}");
    }
    Ok(())
}

fn quotes() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "quotes")?;
    let quoted = format!("\"{}\"", top.name());
    let flag = format!("--kubelet-cgroups={quoted}");
    let kubelet = Fake::start("kubelet", "1", &[&flag, "--cgroups-per-qos=false"])?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    let verdict = on(&report, &quoted)?;
    ensure!(verdict.cause == Cause::InvalidSetting && !verdict.visible, "{verdict:#?}");
    let invalid = finding(verdict, Cause::InvalidSetting)?;
    says(&invalid, &["--kubelet-cgroups contains quotation marks"])?;
    let remedy = &invalid.remediation[0].text;
    ensure!(remedy.contains(&format!("set it to {} without quotation marks", top.name())), "{remedy}");
    Ok(())
}

fn joined() -> Outcome {
    let daemon = Daemon::start()?;
    let top = Cgroup::new("v2", "joined")?;
    let runtime = top.join("runtime");
    fs::create_dir(&runtime)?;
    let runtime = top.name_of(&runtime);
    let argument = format!("--kubelet-cgroups={} --runtime-cgroups={runtime}", top.name());
    let kubelet = Fake::start("kubelet", "1", &[&argument, "--cgroups-per-qos=false"])?;
    let report = ask(&daemon, kubelet.pid(), &["--hierarchy", "v2"])?;
    // It exists, but kubelet does not see the flag.
    let verdict = on(&report, &runtime)?;
    let hidden = finding(verdict, Cause::InvalidSetting)?;
    ensure!(verdict.present && !verdict.visible, "{verdict:#?}");
    says(&hidden, &["does not see the flag --runtime-cgroups"])?;
    let whole = argument.split_once('=').map(|(_, value)| value).unwrap_or_default();
    let verdict = on(&report, whole)?;
    ensure!(verdict.cause == Cause::InvalidSetting, "{verdict:#?}");
    says(&finding(verdict, Cause::InvalidSetting)?, &["One argument contains several flags"])?;
    ensure!(hidden.remediation[0].text.contains("${VARIABLE}"), "{hidden:#?}");
    Ok(())
}
