//! Runs the examples of README.md and docs/user/cli.md.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::{Daemon, program},
    examples::{COMMANDS, Example, README, SLICE, examples},
    process::{Sleeper, put},
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("readme::every_example_runs", every_example_runs),
        trial("readme::every_command_has_an_example", every_command_has_an_example),
        trial("readme::it_is_short", it_is_short),
    ]
}

/// The `cgtrace` commands of units in a document.
fn unit_commands(document: &str) -> impl Iterator<Item = String> {
    document.lines().filter_map(|line| {
        let command = line.strip_prefix("ExecStartPre=/usr/bin/")?;
        Some(command.replace("/system.slice/kubelet.service", "/demo.slice/web.service"))
    })
}

/// The part of a line that is the same on every machine: at most two words, from the first without a digit to
/// the next with one. A path counts as `/`, and the text after a brace does not count.
fn shape(line: &str) -> Vec<&str> {
    let is_number = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit()) && *word != "v2";
    let line = line.split('{').next().unwrap_or_default();
    let words = line.split_whitespace().skip_while(is_number).take_while(|word| !is_number(word));
    words.map(|word| if word.starts_with('/') { "/" } else { word }).take(2).collect()
}

fn every_example_runs() -> Outcome {
    let daemon = Daemon::start()?;
    let slice = Cgroup::new("v2", "readme")?;
    fs::create_dir(slice.join("web.service"))?;
    fs::create_dir(slice.join("old.service"))?;
    fs::remove_dir(slice.join("old.service"))?;
    let sleeper = Sleeper::start()?;
    put(&slice.join("web.service"), "cgroup.procs", sleeper.pid())?;
    let folder = Path::new(program().get_program()).parent().context("no folder")?.to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    let run = |command: &str| -> anyhow::Result<(Option<i32>, String)> {
        let output = Command::new("timeout")
            .args(["30", "sh", "-c", &command.replace(SLICE, &slice.name())])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .env("PATH", &path)
            .env("CGTRACE_SOCKET", daemon.socket())
            .output()?;
        // `events` begins with how many hierarchies it watches.
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(stderr.lines().all(|line| line.starts_with("cgtrace: watching ")), "{command}: {output:?}");
        let stdout = String::from_utf8_lossy(&output.stdout).replace(&slice.name(), SLICE);
        Ok((output.status.code(), stdout))
    };
    let examples: Vec<Example> = [README, COMMANDS].into_iter().flat_map(examples).collect();
    ensure!(examples.len() > 15, "there are {} examples", examples.len());
    for Example { command, first, .. } in examples {
        let (code, stdout) = run(&command)?;
        ensure!(matches!(code, Some(0 | 1)), "{command}: exit code {code:?}: {stdout}");
        // On a busy machine the daemon may have evicted the first events.
        let printed = stdout.lines().find(|line| !line.starts_with("-- ")).unwrap_or_default();
        let first = first.unwrap_or_default();
        ensure!(!printed.is_empty(), "{command} printed nothing");
        // The state of a unit depends on the machine.
        let same = if command.contains("/system.slice/") {
            first.split(':').next() == printed.split(':').next()
        } else {
            shape(&first) == shape(printed)
        };
        ensure!(same, "{command}: `{printed}` is not like the document's `{first}`: {stdout}");
    }
    for command in unit_commands(README) {
        let (code, stdout) = run(&command)?;
        ensure!(code == Some(0) && stdout.is_empty(), "{command}: exit code {code:?}: {stdout}");
    }
    Ok(())
}

fn every_command_has_an_example() -> Outcome {
    let help = program().arg("--help").output()?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // A wrapped description is indented further.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    ensure!(commands.len() > 5, "the help names no commands: {help}");
    let missing: Vec<&str> =
        commands.into_iter().filter(|command| !COMMANDS.contains(&format!("cgtrace {command}"))).collect();
    ensure!(missing.is_empty(), "no example of {missing:?}");
    Ok(())
}

fn it_is_short() -> Outcome {
    ensure!(README.lines().count() <= 150, "the README has {} lines", README.lines().count());
    Ok(())
}
