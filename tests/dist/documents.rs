//! Manual pages and completions, read by man and the shells.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;

use super::packages::{folder, run};
use crate::support::{Outcome, daemon::program, trial};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("dist::every_command_has_a_manual_page", manuals),
        trial("dist::bash_reads_its_completions", bash),
        trial("dist::zsh_reads_its_completions", || read("zsh", &["-n"], "zsh/_cgtrace")),
        trial("dist::fish_reads_its_completions", || read("fish", &["--no-execute"], "fish/cgtrace.fish")),
    ]
}

fn manuals() -> Outcome {
    let help = run(program().arg("--help"))?;
    let (_, commands) = help.split_once("Commands:").context("no commands in the help")?;
    let commands: BTreeSet<String> = commands
        .lines()
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()))
        .map(|command| format!("cgtrace-{command}.1"))
        .collect();
    ensure!(commands.len() >= 10, "{commands:?}");
    let mut pages = BTreeSet::new();
    for page in fs::read_dir(folder()?.join("man"))? {
        let page = page?;
        let mut man = Command::new("man");
        man.args(["--warnings", "--encoding=UTF-8", "-l"]).arg(page.path()).env("MANWIDTH", "100");
        let output = man.output().context("failed to start man")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success() && output.stderr.is_empty(), "{page:?}: {output:?}");
        for section in ["NAME", "SYNOPSIS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
            ensure!(text.lines().any(|line| line.trim() == section), "{page:?} has no {section}: {text}");
        }
        pages.insert(page.file_name().to_string_lossy().into_owned());
    }
    let missing: Vec<_> = commands.difference(&pages).collect();
    ensure!(missing.is_empty() && pages.contains("cgtrace.1"), "no page for {missing:?}");
    Ok(())
}

fn read(shell: &str, options: &[&str], name: &str) -> Outcome {
    let script = folder()?.join("completions").join(name);
    let printed = run(Command::new(shell).args(options).arg(&script))?;
    ensure!(printed.is_empty(), "{printed}");
    Ok(())
}

/// The completions in bash after `cgtrace wa`.
fn bash() -> Outcome {
    let script = folder()?.join("completions/bash/cgtrace");
    let line = r#"source "$1"; COMP_WORDS=(cgtrace wa); COMP_CWORD=1; _clap_complete_cgtrace cgtrace wa cgtrace; printf '%s\n' "${COMPREPLY[@]}""#;
    let binary = program();
    let directory = Path::new(binary.get_program()).parent().context("the program has no directory")?;
    let search = format!("{}:{}", directory.display(), env::var("PATH").unwrap_or_default());
    let mut bash = Command::new("bash");
    bash.args(["-c", line, "bash"]).arg(script).env("PATH", search);
    let offered: Result<String> = run(&mut bash);
    match offered {
        Ok(offered) if offered.lines().any(|word| word == "wait") => Ok(()),
        Ok(offered) => bail!("bash offers {offered:?}"),
        Err(error) => Err(error),
    }
}
