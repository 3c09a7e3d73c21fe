//! The commands that `why --json` suggests, run as they are: what they promise has to come about.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_why::{
    report::{Cause, Verdict},
    rules::causes,
};
use libtest_mimic::Trial;

use super::{
    advice, kubelet,
    settings::{self, command, finding, follow, follow_in, holds_not, verdict, why},
    starts::Kubelet,
};
use crate::{
    lab::{service, why::Scene},
    support::{
        Outcome,
        cgroup::{Cgroup, mount, remove_tree, unique},
        daemon::{Daemon, program},
        fake::Fake,
        process::{Sleeper, put},
        skip, trial,
    },
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("reports::remedies::each_cause_has_a_tested_command_or_none", complete),
        trial("reports::remedies::a_cgroup_is_created_on_the_other_hierarchies", elsewhere),
        trial("reports::remedies::a_kubelet_of_a_shell_is_started_by_its_unit", outside_systemd),
        trial("reports::remedies::a_unit_is_started", not_started),
        trial("reports::remedies::a_wait_ends_when_the_cgroup_is_created", waits),
        trial("reports::remedies::a_unit_whose_process_was_moved_is_restarted", moved),
        trial("reports::remedies::a_kubelet_that_started_too_early_is_restarted", too_early),
        trial("reports::remedies::an_inotify_limit_is_raised", inotify),
        trial("reports::remedies::cgtrace_is_started_to_record_it", recorded),
    ]
}

/// What mends a cause.
enum Mended {
    /// A command, which this test runs.
    By(&'static str),
    /// No command, for this reason.
    Never(&'static str),
}

use Mended::{By, Never};

const MENDED: [(Cause, Mended); 31] = [
    (Cause::Present, Never("nothing is wrong")),
    (Cause::PresentElsewhere, By("reports::remedies::a_cgroup_is_created_on_the_other_hierarchies")),
    (Cause::PathIncludesMount, Never("the path is in a flag or a log, and where is not known")),
    (Cause::NamespaceRelative, Never("the path is in a flag or a log, and where is not known")),
    (Cause::SimilarPathExists, Never("the path is in a flag or a log, and where is not known")),
    (Cause::StartedOutsideSystemd, By("reports::remedies::a_kubelet_of_a_shell_is_started_by_its_unit")),
    (Cause::UnitNotStarted, By("reports::remedies::a_unit_is_started")),
    (Cause::NoSuchProcess, By("reports::remedies::a_wait_ends_when_the_cgroup_is_created")),
    (Cause::Removed, By("reports::remedies::a_unit_is_started")),
    (Cause::MovedAway, By("reports::remedies::a_unit_whose_process_was_moved_is_restarted")),
    (Cause::CreatedByObserver, Never("the observer's flag is in a file of the user's choice")),
    (Cause::CreatedAfterObserver, By("reports::remedies::a_kubelet_that_started_too_early_is_restarted")),
    (Cause::FilteredByObserver, Never("the observer's flag is in a file of the user's choice")),
    (Cause::InotifyLimit, By("reports::remedies::an_inotify_limit_is_raised")),
    (Cause::NamespaceMismatch, Never("a container has to be created again with other mounts")),
    (Cause::NotObserved, By("reports::remedies::cgtrace_is_started_to_record_it")),
    (Cause::Frozen, By("reports::settings::a_frozen_member_on_v2")),
    (Cause::LimitReached, By("reports::settings::max_descendants_is_reached")),
    (Cause::InvalidDomain, By("reports::settings::an_attach_below_a_threaded_domain")),
    (Cause::Threaded, By("reports::settings::an_attach_below_a_threaded_domain")),
    (Cause::ControllerNotEnabled, By("reports::settings::a_controller_that_was_enabled_by_hand")),
    (Cause::NotDelegated, By("reports::settings::owned_by_root_inside_a_users_tree")),
    (Cause::LeftOverProcesses, By("reports::settings::processes_of_a_dead_unit")),
    (Cause::DiffersFromUnit, By("reports::settings::a_limit_set_by_hand")),
    (Cause::Empty, By("reports::settings::empty_slices")),
    (Cause::Busy, By("reports::settings::who_is_still_in_it")),
    (Cause::MovedIn, Never("where the process belongs is the user's decision")),
    (Cause::InvalidSetting, Never("the observer's flag is in a file of the user's choice")),
    (Cause::RequiredByObserver, By("reports::kubelet::an_enforced_reserved_cgroup_is_missing")),
    (Cause::CgroupV1Unsupported, Never("the machine has to be booted with v2, or kubelet's file changed")),
    (Cause::StatsFromCri, Never("nothing is wrong; its command asks the container runtime")),
];

/// Each cause that a rule can find is in the table once, and each test of the table exists.
fn complete() -> Outcome {
    let found: BTreeSet<Cause> = causes().collect();
    let listed: BTreeSet<Cause> = MENDED.iter().map(|(cause, _)| *cause).collect();
    ensure!(found == listed, "not in the table: {:?}", found.symmetric_difference(&listed));
    ensure!(listed.len() == MENDED.len(), "a cause is in the table twice");
    let tests = [trials(), advice::trials(), kubelet::trials(), settings::trials()];
    let names: BTreeSet<String> = tests.iter().flatten().map(|test| test.name().to_owned()).collect();
    for (cause, mended) in &MENDED {
        match mended {
            By(test) => ensure!(names.contains(*test), "{cause}: there is no test {test}"),
            Never(reason) => ensure!(!reason.is_empty(), "{cause}: no reason"),
        }
    }
    Ok(())
}

/// Cgroups that a command creates, removed when dropped.
struct Created(Vec<PathBuf>);

impl Drop for Created {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| remove_tree(path));
    }
}

fn elsewhere() -> Outcome {
    mount("memory").map_err(|_| skip("memory is on v2 here, so nothing can exist on name=systemd only"))?;
    let top = Cgroup::new("name=systemd", "elsewhere")?;
    let path = top.name();
    let mut on = Vec::new();
    for hierarchy in ["cpu", "cpuacct", "memory"] {
        on.push(mount(hierarchy)?.join(path.trim_start_matches('/')));
    }
    let created = Created(on);
    let sleeper = Sleeper::start()?;
    put(top.path(), "cgroup.procs", sleeper.pid())?;
    let daemon = Daemon::start()?;
    let cadvisor = Fake::start("cadvisor", "1", &[])?;
    let pid = cadvisor.pid().to_string();
    let (verdict, visible) = why(&daemon, &[&path, "--pid", &pid])?;
    ensure!(!visible && verdict.cause == Cause::PresentElsewhere, "{verdict:#?}");
    follow(&finding(&verdict, Cause::PresentElsewhere)?, "mkdir -p ")?;
    for directory in &created.0 {
        let members = fs::read_to_string(directory.join("cgroup.procs"))?;
        ensure!(members.trim() == sleeper.pid().to_string(), "{}: {members:?}", directory.display());
    }
    // The observer is older than what was created now, which is another cause.
    let (verdict, visible) = why(&daemon, &[&path])?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    Ok(())
}

/// The verdict on the service manager's hierarchy.
fn of_unit(scene: &Scene) -> Result<(Verdict, bool)> {
    let command = scene.systemd.queried_by(scene.daemon.command());
    verdict(command, &[&scene.name, "--hierarchy", "name=systemd"])
}

fn runs(scene: &Scene) -> Outcome {
    let (verdict, visible) = of_unit(scene)?;
    ensure!(visible && verdict.cause == Cause::Present, "{verdict:#?}");
    let members = fs::read_to_string(procs(scene)?)?;
    ensure!(members.lines().count() == 1, "{members:?}");
    Ok(())
}

fn procs(scene: &Scene) -> Result<PathBuf> {
    Ok(mount("name=systemd")?.join(scene.name.trim_start_matches('/')).join("cgroup.procs"))
}

fn outside_systemd() -> Outcome {
    let scene = Scene::new()?;
    let shell = scene.start_from_shell()?;
    let (verdict, _) = of_unit(&scene)?;
    // The pid is the host's.
    follow_in(scene.systemd.beside("sh"), &finding(&verdict, Cause::StartedOutsideSystemd)?, "kill ")?;
    runs(&scene)?;
    shell.end(&scene.systemd)
}

/// Both a unit that was never started and one that was stopped, whose cgroup was removed.
fn not_started() -> Outcome {
    let scene = Scene::new()?;
    for cause in [Cause::UnitNotStarted, Cause::Removed] {
        let (verdict, visible) = of_unit(&scene)?;
        ensure!(!visible, "{verdict:#?}");
        follow_in(scene.systemd.inside("sh"), &finding(&verdict, cause)?, "systemctl start ")?;
        runs(&scene)?;
        scene.systemd.run(&["systemctl", "stop", "kubelet.service"])?;
    }
    Ok(())
}

fn waits() -> Outcome {
    let top = Cgroup::at(&mount("v2")?, &format!("{}.slice", unique("waits")))?;
    let later = top.join("cgtrace-test-later.service");
    let daemon = Daemon::start()?;
    let (verdict, _) = why(&daemon, &[&top.name_of(&later)])?;
    let found = finding(&verdict, Cause::NoSuchProcess)?;
    let programs = Path::new(program().get_program()).parent().context("no directory")?.to_owned();
    let path = env::join_paths(std::iter::once(programs).chain(env::split_paths("/usr/bin:/bin")))?;
    let mut shell = Command::new("sh");
    shell.env("PATH", path).env("CGTRACE_RUNTIME_DIR", daemon.runtime_dir().path());
    let mut waiting = shell.args(["-c", command(&found, "cgtrace wait ")?]).spawn()?;
    let mut client = daemon.client()?;
    while client.status()?.waiters == 0 {
        ensure!(waiting.try_wait()?.is_none(), "it did not wait");
        std::thread::yield_now();
    }
    fs::create_dir(&later)?;
    ensure!(waiting.wait()?.success(), "the wait failed");
    Ok(())
}

fn moved() -> Outcome {
    let scene = Scene::new()?;
    scene.systemd.run(&["systemctl", "start", "kubelet.service"])?;
    let pid = fs::read_to_string(procs(&scene)?)?.trim().parse()?;
    let elsewhere = Cgroup::new("name=systemd", "movedto")?;
    put(elsewhere.path(), "cgroup.procs", pid)?;
    let (verdict, _) = of_unit(&scene)?;
    let found = finding(&verdict, Cause::MovedAway)?;
    follow_in(scene.systemd.inside("sh"), &found, "systemctl restart ")?;
    runs(&scene)
}

fn too_early() -> Outcome {
    let kubelet = Kubelet::new()?;
    let daemon = Daemon::start()?;
    let systemd = &kubelet.systemd;
    kubelet.systemctl("start")?;
    systemd.unit("engine.service", "[Service]\nType=exec\nExecStart=/bin/sleep 1000\n")?;
    systemd.run(&["systemctl", "start", "engine.service"])?;
    let path = systemd.name("/system.slice/engine.service");
    let found = finding(&kubelet.why_not(&daemon, &path)?.0, Cause::CreatedAfterObserver)?;
    follow_in(systemd.inside("sh"), &found, "systemctl restart kubelet.service")?;
    holds_not(&kubelet.why_not(&daemon, &path)?.0, Cause::CreatedAfterObserver)
}

/// A setting of the kernel, restored when dropped.
struct Sysctl(&'static str, String);

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = fs::write(self.0, &self.1);
    }
}

fn inotify() -> Outcome {
    const UID: u32 = 64_603;
    const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";
    let number = match env::consts::ARCH {
        "x86_64" => 294,
        "aarch64" | "riscv64" => 26,
        other => return Err(skip(format!("the number of inotify_init1 is not known for {other}"))),
    };
    let limit = fs::read_to_string(LIMIT)?;
    if limit.trim().parse::<u64>()? > 900 {
        return Err(skip(format!("{LIMIT} exceeds a process's number of descriptors")));
    }
    let _restored = Sysctl(LIMIT, limit);
    let cgroup = Cgroup::new("v2", "watched")?;
    let daemon = Daemon::start()?;
    let script = format!("while (syscall({number}, 0) >= 0) {{}}");
    let agent = Fake::start_in(&[], "cgtrace-agent", &script, &[], Some(UID))?;
    let pid = agent.pid().to_string();
    let arguments = [&cgroup.name(), "--hierarchy", "v2", "--pid", &pid];
    let found = finding(&why(&daemon, &arguments)?.0, Cause::InotifyLimit)?;
    follow(&found, "sysctl -w ")?;
    holds_not(&why(&daemon, &arguments)?.0, Cause::InotifyLimit)
}

fn recorded() -> Outcome {
    let systemd = service::installed("recorded")?;
    let daemon = Daemon::start()?;
    let path = systemd.name("/system.slice/earlier.service");
    let (verdict, _) = verdict(systemd.queried_by(daemon.command()), &[&path])?;
    let found = finding(&verdict, Cause::NotObserved)?;
    follow_in(systemd.inside("sh"), &found, "systemctl enable --now cgtrace.service")?;
    ensure!(systemd.show("cgtrace.service", "UnitFileState")? == "enabled");
    // From now on, it is recorded.
    systemd.unit("earlier.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")?;
    systemd.run(&["systemctl", "start", "earlier.service"])?;
    let removed = systemd.output(&["cgtrace", "--daemon-only", "show", &path, "--hierarchy", "v2"])?;
    let text = String::from_utf8_lossy(&removed.stdout);
    ensure!(text.contains("removed"), "{text}{}", String::from_utf8_lossy(&removed.stderr));
    Ok(())
}
