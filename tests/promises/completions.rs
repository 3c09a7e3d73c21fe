//! Shells complete commands, kinds, hierarchies and the paths of cgroups that exist.

use std::{
    env, fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::program,
    skip, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("completions::every_command_is_offered", commands),
        trial("completions::kinds_states_and_hierarchies_are_offered", values),
        trial("completions::existing_cgroups_are_offered", cgroups),
        trial("completions::names_that_a_shell_would_interpret_are_not_offered", hostile_names),
        trial("completions::errors_are_silent", silent),
        trial("completions::bash_zsh_and_fish_complete_a_cgroup", shells),
    ]
}

/// The request of a completion script, whose last word is completed.
fn request(words: &[&str]) -> Command {
    let mut command = program();
    command
        .env("CGTRACE_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string())
        .env("_CLAP_IFS", "\n")
        .args(["--", "cgtrace"])
        .args(words);
    command
}

fn offered(words: &[&str]) -> Result<Vec<String>> {
    let output = request(words).output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn offers(words: &[&str], expected: &[&str]) -> Outcome {
    let offered = offered(words)?;
    for word in expected {
        ensure!(offered.iter().any(|offer| offer == word), "{words:?}: no `{word}` in {offered:?}");
    }
    Ok(())
}

fn commands() -> Outcome {
    let commands = [
        "daemon",
        "exists",
        "wait",
        "show",
        "list",
        "tree",
        "events",
        "why",
        "doctor",
        "status",
        "metrics",
        "verify",
        "config",
        "unpin",
        "completions",
    ];
    offers(&[""], &commands)
}

fn values() -> Outcome {
    offers(&["events", "--kind", "mk"], &["mkdir"])?;
    offers(&["events", "--kind", "mkdir,rm"], &["mkdir,rmdir"])?;
    offers(&["wait", "/", "--until", "p"], &["present", "populated"])?;
    offers(&["list", "-H", ""], &[any()])?;
    offers(&["list", &format!("--hierarchy={}", &any()[..1])], &[&format!("--hierarchy={}", any())])
}

fn cgroups() -> Outcome {
    let cgroup = Cgroup::new(any(), "complete")?;
    let child = cgroup.join("child.service");
    fs::create_dir(&child)?;
    let (path, child) = (cgroup.name(), cgroup.name_of(&child));
    let prefix = &path[..path.len() - 1];
    for command in ["exists", "wait", "show", "list", "tree", "events", "why"] {
        // A single match is followed by its children.
        offers(&[command, prefix], &[&path, &child])?;
    }
    offers(&["exists", &format!("{path}/")], &[&child])?;
    let start = Instant::now();
    offers(&["exists", prefix], &[&path])?;
    ensure!(start.elapsed() < Duration::from_millis(500), "completion took {:?}", start.elapsed());
    Ok(())
}

fn hostile_names() -> Outcome {
    let cgroup = Cgroup::new(any(), "hostile")?;
    for name in ["$(reboot)", "a b", "a\u{1b}[2Jb", "*"] {
        fs::create_dir(cgroup.join(name))?;
    }
    let path = format!("{}/", cgroup.name());
    let offered = offered(&["exists", &path])?;
    ensure!(!offered.iter().any(|offer| offer.starts_with(&path)), "{offered:?}");
    Ok(())
}

fn silent() -> Outcome {
    for words in [&["exists", "relative"][..], &["exists", "/cgtrace-test-none/"], &["none", "none", ""]] {
        let output = request(words).output()?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    }
    let output = request(&[""]).env("CGTRACE_COMPLETE", "none").output()?;
    ensure!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

/// Completes `exists PREFIX` in the shells themselves, as far as they are installed.
fn shells() -> Outcome {
    let cgroup = Cgroup::new(any(), "shell")?;
    let path = cgroup.name();
    let prefix = &path[..path.len() - 1];
    let bash = format!(
        r#"eval "$(cgtrace completions bash)"; COMP_WORDS=(cgtrace exists {prefix}); COMP_CWORD=2; COMP_TYPE=9
        _clap_complete_cgtrace cgtrace {prefix} exists; printf '%s\n' "${{COMPREPLY[@]}}""#
    );
    // _describe needs the line editor; the function is given one that prints.
    let zsh = format!(
        r#"compdef() {{ : }}; _describe() {{ print -l -- ${{(P)3}} ${{(P)4}} }}
        eval "$(cgtrace completions zsh)"; words=(cgtrace exists {prefix}); CURRENT=3
        _clap_dynamic_completer_cgtrace"#
    );
    let fish = format!("cgtrace completions fish | source; complete --do-complete 'cgtrace exists {prefix}'");
    let binary = program();
    let folder = Path::new(binary.get_program()).parent().context("the program has no directory")?;
    let search = format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default());
    let mut missing = Vec::new();
    for (shell, script) in [("bash", bash), ("zsh", zsh), ("fish", fish)] {
        let Ok(output) = Command::new(shell).args(["-c", &script]).env("PATH", &search).output() else {
            missing.push(shell);
            continue;
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(text.lines().any(|line| line.trim() == path), "{shell}: {output:?}");
    }
    if missing.is_empty() { Ok(()) } else { Err(skip(format!("not installed: {}", missing.join(", ")))) }
}
