//! `top` shows what happens as it happens, and gives the terminal back.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result, ensure};
use cgtrace_client::wire;
use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any, both},
    daemon::{Daemon, open_folder, program},
    process::{Sleeper, put},
    session::Session,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("top::what_is_created_and_removed_is_marked_and_then_disappears", marked),
        trial("top::after_a_burst_it_shows_what_exists", burst),
        trial("top::processes_are_counted", processes),
        trial("top::it_goes_on_over_a_restart_of_the_daemon", restarted),
        trial("top::any_size_and_a_signal_leave_the_terminal_as_it_was", resized),
        trial("top::without_a_terminal_it_names_other_commands", no_terminal),
        trial("top::once_prints_what_list_prints", once),
    ]
}

fn top(daemon: &Daemon, cgroup: &Cgroup) -> Result<Session> {
    Session::start(daemon.command().args(["top", &cgroup.name()]).env_remove("NO_COLOR").env("TERM", "xterm"))
}

fn marked() -> Outcome {
    let daemon = Daemon::start()?;
    for hierarchy in both() {
        let cgroup = Cgroup::new(hierarchy, "top")?;
        let mut session = top(&daemon, &cgroup)?;
        session.until("started", |display| display.find(&cgroup.name()).is_some())?;
        fs::create_dir(cgroup.join("web.service"))?;
        session.until("created", |display| {
            display.find("web.service").is_some_and(|(line, is_struck)| line.starts_with('+') && !is_struck)
        })?;
        // Its creator is this process.
        let (line, _) = session.display.find("web.service").context("no row")?;
        ensure!(line.contains(&format!("[{}]", std::process::id())), "{line}");
        // The mark disappears, the row remains.
        session.until("unmarked", |display| {
            display.find("web.service").is_some_and(|(line, _)| line.starts_with(' '))
        })?;
        fs::remove_dir(cgroup.join("web.service"))?;
        session.until("removed", |display| {
            display.find("web.service").is_some_and(|(line, is_struck)| line.starts_with('-') && is_struck)
        })?;
        session.until("gone", |display| display.find("web.service").is_none())?;
        session.press("q")?;
        ensure!(session.ends()?.success());
    }
    Ok(())
}

/// More events than rows, and more of them per frame than are drawn.
fn burst() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "top")?;
    let mut session = top(&daemon, &cgroup)?;
    session.until("started", |display| display.find(&cgroup.name()).is_some())?;
    for number in 0..1_000 {
        let path = cgroup.join(format!("burst-{number}"));
        fs::create_dir(&path)?;
        if number % 200 != 0 {
            fs::remove_dir(&path)?;
        }
    }
    let left = [0, 200, 400, 600, 800].map(|number| format!("burst-{number}"));
    session.until("what exists alone", |display| {
        let lines = display.lines();
        let shown: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.split_whitespace().find(|word| word.starts_with("burst-")))
            .collect();
        shown == left
    })?;
    ensure!(session.display.find("dropped").is_none(), "{:#?}", session.display.lines());
    session.press("q")?;
    ensure!(session.ends()?.success());
    Ok(())
}

fn processes() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "top")?;
    let sleepers = [Sleeper::start()?, Sleeper::start()?];
    fs::create_dir(cgroup.join("in"))?;
    for sleeper in &sleepers {
        put(&cgroup.join("in"), "cgroup.procs", sleeper.pid())?;
    }
    let mut session = top(&daemon, &cgroup)?;
    let shown = |line: &str| line.split_whitespace().rev().nth(1).map(str::to_owned);
    session.until("two processes", |display| {
        display.find("  in ").and_then(|(line, _)| shown(&line)).is_some_and(|processes| processes == "2")
    })?;
    drop(sleepers);
    session.until("no process", |display| {
        display.find("  in ").and_then(|(line, _)| shown(&line)).is_some_and(|processes| processes == "0")
    })?;
    // A filter hides it, Esc shows it again, Ctrl-C quits.
    session.press("/nothing")?;
    session.until("filtered", |display| display.find("  in ").is_none())?;
    session.press("\u{1b}")?;
    session.until("shown again", |display| display.find("  in ").is_some())?;
    session.press("\u{3}")?;
    ensure!(session.ends()?.success());
    Ok(())
}

/// Makes the link lead to the daemon.
fn lead(link: &Path, daemon: &Daemon) -> Result<()> {
    let next = link.with_extension("next");
    symlink(daemon.socket(), &next)?;
    Ok(fs::rename(next, link)?)
}

fn restarted() -> Outcome {
    let folder = open_folder()?;
    let socket = folder.path().join("io.cgtrace");
    let first = Daemon::start()?;
    lead(&socket, &first)?;
    let cgroup = Cgroup::new(any(), "top")?;
    for name in ["stays", "removed-meanwhile"] {
        fs::create_dir(cgroup.join(name))?;
    }
    let mut session = Session::start(program().arg("--socket").arg(&socket).args(["top", &cgroup.name()]))?;
    session.until("started", |display| display.find("removed-meanwhile").is_some())?;
    drop(first);
    session.until("down", |display| display.find("reconnecting for").is_some())?;
    fs::remove_dir(cgroup.join("removed-meanwhile"))?;
    fs::create_dir(cgroup.join("created-meanwhile"))?;
    let second = Daemon::start()?;
    lead(&socket, &second)?;
    let note = format!("the daemon was restarted, now pid {}", second.pid());
    session.until("up again", |display| display.find(&note).is_some())?;
    session.until("up to date", |display| {
        display.find("created-meanwhile").is_some()
            && display.find("removed-meanwhile").is_none_or(|(line, _)| line.starts_with('-'))
    })?;
    fs::create_dir(cgroup.join("created-afterwards"))?;
    session.until("live again", |display| {
        display.find("created-afterwards").is_some_and(|(line, _)| line.starts_with('+'))
    })?;
    session.until("up to date", |display| display.find("removed-meanwhile").is_none())?;
    ensure!(session.display.find("stays").is_some(), "{:#?}", session.display.lines());
    session.press("q")?;
    ensure!(session.ends()?.success());
    Ok(())
}

fn resized() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "top")?;
    fs::create_dir(cgroup.join("leaf"))?;
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut session = top(&daemon, &cgroup)?;
        session.until("started", |display| display.find("leaf").is_some())?;
        for (columns, rows) in [(20, 5), (1, 1), (7, 2), (200, 50), (20, 5)] {
            session.resize(columns, rows)?;
            // Something is drawn on each of them.
            session.until("drawn", |display| display.lines().iter().any(|line| !line.is_empty()))?;
        }
        session.until("drawn", |display| display.find("leaf").is_some())?;
        session.press("?")?;
        session.until("helped", |display| display.find("PgUp").is_some())?;
        session.signal(signal)?;
        ensure!(session.ends()?.success(), "{signal:?}");
    }
    Ok(())
}

fn no_terminal() -> Outcome {
    let daemon = Daemon::start()?;
    let output = daemon.run(&["top"])?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{output:?}");
    ensure!(["terminal", "tree", "events"].iter().all(|word| stderr.contains(word)), "{stderr}");
    Ok(())
}

/// `--once` has a row per cgroup that `List` has, with its depth.
fn once() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "top")?;
    let sleeper = Sleeper::start()?;
    for name in ["a", "a/b", "a/b/c", "d-long-name-of-a-cgroup.service"] {
        fs::create_dir(cgroup.join(name))?;
    }
    put(&cgroup.join("a/b/c"), "cgroup.procs", sleeper.pid())?;
    let output = daemon.run(&["top", "--once", &cgroup.name()])?;
    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    let rows: BTreeSet<String> = text
        .lines()
        .skip(2)
        .filter_map(|line| {
            line.split_whitespace().find(|word| !matches!(*word, "+" | "▾")).map(str::to_owned)
        })
        .collect();
    let list = wire::List::default().patterns([cgroup.name()]);
    let mut listed = BTreeSet::new();
    for existing in daemon.client()?.list(&list)? {
        let path = existing?.path.context("no path")?;
        let leaf = path.rsplit('/').next().unwrap_or_default();
        listed.insert(if path == cgroup.name() { path.clone() } else { leaf.to_owned() });
    }
    ensure!(rows == listed, "{listed:?}\n{text}");
    let row = text
        .lines()
        // On a slow machine, it is not new any more.
        .find(|line| line.trim_start_matches('+').trim_start().starts_with("c "))
        .context(text.clone())?;
    ensure!(row.split_whitespace().rev().nth(1) == Some("1"), "{row}");
    let output = daemon.run(&["top", "--once", "/cgtrace-test-none"])?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    Ok(())
}
