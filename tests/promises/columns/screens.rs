//! The examples of README.md and docs/user/cli.md, on a hybrid machine and a terminal of 80 columns: nothing
//! wraps, and no line is repeated for each hierarchy.
//!
//! What they show is in `tests/promises/screens`, with fixed words for what differs from run to run.
//! `CGTRACE_WRITE_SCREENS=1` rewrites it.

use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use cgtrace_host::hierarchy::discover;

use crate::support::{
    Outcome,
    cgroup::Cgroup,
    daemon::{Daemon, program},
    examples::{COMMANDS, README, SLICE, examples},
    process::{Sleeper, put},
    skip, terminal,
};

/// Shown by no terminal, so that a line of text is a line of the snapshot.
const UNLIMITED: u16 = 4_000;

/// Commands of which the documents have no example that ends.
const FURTHER: [(&str, &str); 5] = [
    ("log", "cgtrace log /demo.slice"),
    ("tree-all", "cgtrace tree /demo.slice"),
    ("list-removed", "cgtrace list --removed '/demo.slice/**'"),
    ("why-present", "cgtrace why /demo.slice/web.service"),
    ("why-removed", "cgtrace why /demo.slice/old.service"),
];

/// The commands that describe cgroups to people.
const TESTED: [&str; 9] = ["exists", "wait", "show", "list", "tree", "events", "log", "why", "status"];

/// The cgroups of the examples, on every hierarchy.
struct Demo {
    hierarchies: Vec<String>,
    mounts: Vec<PathBuf>,
    slices: Vec<Cgroup>,
    _sleeper: Sleeper,
}

impl Demo {
    fn create() -> Result<Self> {
        let (mut hierarchies, mut mounts) = (Vec::new(), Vec::new());
        let mut known = HashSet::new();
        for found in discover()? {
            let Some(mount) = found.mount else { continue };
            hierarchies.push(found.name.to_string());
            if known.insert(mount.path.clone()) {
                mounts.push(mount.path);
            }
        }
        if hierarchies.len() < 3 {
            return Err(skip("not a hybrid machine: fewer than three hierarchies are mounted"));
        }
        // Short, so that the paths fit as those of the examples do.
        let name = format!("cgtrace-test-{}", std::process::id());
        let directories: Vec<PathBuf> = mounts.iter().map(|mount| mount.join(&name)).collect();
        run("mkdir", &directories)?;
        let slices = mounts.iter().map(|mount| Cgroup::existing(mount, &name)).collect();
        let below = |leaf: &str| directories.iter().map(|slice| slice.join(leaf)).collect::<Vec<_>>();
        run("mkdir", &below("web.service"))?;
        run("mkdir", &below("old.service"))?;
        run("rmdir", &below("old.service"))?;
        let sleeper = Sleeper::start()?;
        put(
            &crate::support::cgroup::mount("v2")?.join(&name).join("web.service"),
            "cgroup.procs",
            sleeper.pid(),
        )?;
        Ok(Self { hierarchies, mounts, slices, _sleeper: sleeper })
    }

    fn path(&self) -> String {
        self.slices.first().map(Cgroup::name).unwrap_or_default()
    }

    /// Whether a word stands for hierarchies: a name, or how many more there are.
    fn is_hierarchy(&self, word: &str) -> bool {
        let is_count = word.strip_prefix('+').is_some_and(|count| count.parse::<u8>().is_ok());
        is_count || self.hierarchies.iter().any(|name| name == word)
    }

    /// A line with fixed words for what differs from run to run: the path, processes, ids, times, and which
    /// hierarchies there are.
    fn redacted(&self, line: &str) -> String {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
        let comm = fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
        let line = line
            .replace(&self.path(), SLICE)
            .replace(&format!(", in {own})"), ", in CGROUP)")
            .replace(&format!("from {own} "), "from CGROUP ")
            .replace(comm.trim(), "COMM");
        // Where systemd does not run, nothing can be enabled.
        let line = line.replace(
            "start cgtrace at boot: systemctl enable --now cgtrace.service",
            "start cgtrace daemon at boot",
        );
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace().filter(|word| *word != "\\") {
            let name = word.trim_end_matches([',', ':', '.']);
            let suffix = &word[name.len()..];
            let fixed = if self.is_hierarchy(name) {
                "HIERARCHIES"
            } else if self.mounts.iter().any(|mount| Path::new(name).starts_with(mount)) {
                "DIRECTORIES"
            } else {
                words.push(word.to_owned());
                continue;
            };
            // A list is one word.
            words.pop_if(|last| last.trim_end_matches(',') == fixed);
            words.push(format!("{fixed}{suffix}"));
        }
        let mut text = words.join(" ");
        if text.starts_with("ids: ") || text.starts_with("id ") {
            "ids: IDS".clone_into(&mut text);
        }
        let mut numbers = String::new();
        for character in text.chars() {
            let is_digit = character.is_ascii_digit();
            if !is_digit || !numbers.ends_with('#') {
                numbers.push(if is_digit { '#' } else { character });
            }
        }
        for (from, to) in [
            ("#-#-#T#:#:#.#Z", "TIME"),
            ("#:#:#.#", "TIME"),
            ("#:#:#", "TIME"),
            ("#.# s", "# ms"),
            ("# s", "# ms"),
            ("# ms to # ms", "# ms"),
        ] {
            numbers = numbers.replace(from, to);
        }
        numbers
    }

    /// The words of a screen.
    fn words(&self, screen: &str) -> String {
        let lines: Vec<&str> = screen.lines().filter(|line| !line.starts_with("-- ")).collect();
        self.redacted(&lines.join(" "))
    }

    /// A screen, line by line; what was not recorded depends on the machine's other tests.
    fn redacted_screen(&self, screen: &str) -> String {
        let mut text = String::new();
        for line in screen.lines().filter(|line| !line.starts_with("-- ")) {
            let indent = line.len() - line.trim_start().len();
            text.push_str(&" ".repeat(indent));
            text.push_str(&self.redacted(line));
            text.push('\n');
        }
        text
    }
}

/// Runs `mkdir` or `rmdir` of all these: one process, so that it is one change.
fn run(program: &str, directories: &[PathBuf]) -> Result<()> {
    ensure!(Command::new(program).args(directories).status()?.success(), "{program} {directories:?}");
    Ok(())
}

/// What a command shows on a terminal, without colours.
fn screen(daemon: &Daemon, command: &str, columns: u16) -> Result<String> {
    let folder = Path::new(program().get_program()).parent().context("no folder")?.to_owned();
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("timeout");
    shell
        .args(["60", "sh", "-c", command])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .env("CGTRACE_SOCKET", daemon.socket())
        .stderr(Stdio::null());
    Ok(String::from_utf8(terminal::shows_in(&mut shell, columns)?)?.replace("\r\n", "\n"))
}

/// The part of a command before its output goes elsewhere than to the terminal.
fn on_terminal(command: &str) -> String {
    let command = command.split([' ', '\t']).take_while(|word| !matches!(*word, "|" | "&&" | ">"));
    command.filter(|word| *word != "-q").collect::<Vec<_>>().join(" ")
}

/// Whether the output depends on what else runs on the machine, so that only its layout is tested.
fn depends_on_the_machine(command: &str) -> bool {
    !command.contains(SLICE)
}

pub fn examples_fit() -> Outcome {
    let daemon = Daemon::start()?;
    let demo = Demo::create()?;
    let documents = [README, COMMANDS].into_iter().flat_map(examples);
    let all = documents.map(|example| (example.name, example.command));
    let further = FURTHER.map(|(name, command)| (name.to_owned(), command.to_owned()));
    let mut seen = HashSet::new();
    let mut changed = Vec::new();
    for (name, command) in all.chain(further) {
        let command = on_terminal(&command);
        // One JSON document is one line.
        let is_text = command.split(' ').nth(1).is_some_and(|word| TESTED.contains(&word));
        if !is_text || command.contains("--json") || !seen.insert(command.clone()) {
            continue;
        }
        let here = command.replace(SLICE, &demo.path());
        let narrow = screen(&daemon, &here, terminal::COLUMNS)?;
        ensure!(!narrow.trim().is_empty(), "{command}: no output");
        for line in narrow.lines() {
            let columns = line.chars().count();
            // A path of another test, which is not broken so that it can be copied.
            if depends_on_the_machine(&command) && line.split_whitespace().count() == 1 {
                continue;
            }
            ensure!(columns <= usize::from(terminal::COLUMNS), "{command}: {columns} columns: {line}");
        }
        let wide = screen(&daemon, &here, UNLIMITED)?;
        let shown = demo.redacted_screen(&wide);
        if depends_on_the_machine(&command) {
            continue;
        }
        let lines: Vec<&str> = shown.lines().collect();
        let twice = lines.windows(2).find(|two| two[0] == two[1] && two[0].contains("HIERARCHIES"));
        ensure!(twice.is_none(), "{command}: a line per hierarchy: {twice:?}\n{narrow}");
        // But for where lines are broken, the narrow screen has the same words.
        let (narrow, wide) = (demo.words(&narrow), demo.words(&wide));
        ensure!(narrow == wide || is_row(&command), "{command}: in 80 columns\n{narrow}\nnot\n{wide}");
        changed.extend(compare(&name, &command, &shown)?);
    }
    ensure!(
        changed.is_empty(),
        "these screens changed; see and run CGTRACE_WRITE_SCREENS=1:\n{}",
        changed.join("\n")
    );
    drop(demo);
    daemon.verify()
}

/// Whether the command prints rows, which have fewer columns for details where the terminal is narrow.
fn is_row(command: &str) -> bool {
    ["events", "log", "list", "tree"].iter().any(|word| command.starts_with(&format!("cgtrace {word}")))
}

/// Compares a screen with the stored one, or stores it.
fn compare(name: &str, command: &str, shown: &str) -> Result<Option<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/promises/screens");
    let file = folder.join(format!("{name}.txt"));
    let text = format!("$ {command}\n{shown}");
    if env::var_os("CGTRACE_WRITE_SCREENS").is_some() {
        fs::write(&file, text)?;
        return Ok(None);
    }
    let stored = fs::read_to_string(&file).unwrap_or_default();
    Ok((stored != text).then(|| format!("--- {name}.txt\n{stored}+++ now\n{text}")))
}
