//! On a terminal of 80 columns, text fits, and hierarchies with the same answer share it.

mod rows;
mod screens;

use std::{collections::HashSet, fs};

use anyhow::{Result, ensure};
use cgtrace_host::hierarchy::discover;
use insta::assert_snapshot;
use libtest_mimic::Trial;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, unique},
    daemon::Daemon,
    skip, terminal, trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("columns::hierarchies_with_the_same_answer_share_it_in_80_columns", shared),
        trial("columns::the_examples_of_the_documents_fit_80_columns", screens::examples_fit),
        trial("columns::one_change_on_several_hierarchies_is_one_row_and_several_events", rows::one_row),
        trial("columns::events_begin_with_the_hierarchies_and_the_snapshot", rows::begins),
        trial("columns::a_stopped_daemon_is_noted_in_one_row", rows::stopped),
    ]
}

/// A cgroup on every hierarchy of a hybrid machine.
struct Everywhere {
    hierarchies: Vec<String>,
    cgroups: Vec<Cgroup>,
    name: String,
}

impl Everywhere {
    fn create() -> Result<Self> {
        let name = unique("cols");
        let (mut hierarchies, mut cgroups, mut mounts) = (Vec::new(), Vec::new(), HashSet::new());
        for found in discover()? {
            let Some(mount) = found.mount else { continue };
            // A cpuset of v1 takes processes only after it was configured, which does not matter here.
            if mounts.insert(mount.path.clone()) {
                cgroups.push(Cgroup::at(&mount.path, &name)?);
            }
            hierarchies.push(found.name.to_string());
        }
        if hierarchies.len() < 3 {
            return Err(skip("not a hybrid machine: fewer than three hierarchies are mounted"));
        }
        Ok(Self { hierarchies, cgroups, name: format!("/{name}") })
    }
}

/// What a command shows on a terminal, without colours. No line is too long.
fn screen(daemon: &Daemon, arguments: &[&str]) -> Result<String> {
    let mut command = daemon.command();
    command.env("NO_COLOR", "1").args(arguments);
    let text = String::from_utf8(terminal::shows(&mut command)?)?.replace("\r\n", "\n");
    ensure!(!text.trim().is_empty(), "{arguments:?}: no output");
    for line in text.lines() {
        let columns = line.chars().count();
        ensure!(columns <= usize::from(terminal::COLUMNS), "{arguments:?}: {columns} columns: {line}");
    }
    Ok(text)
}

/// The text without the breaks of lines, and with fixed words for what differs from run to run: the path, this
/// process, ids, times, and which hierarchies there are. A second line for a hierarchy remains visible.
fn redacted(text: &str, everywhere: &Everywhere) -> Result<String> {
    let comm = fs::read_to_string("/proc/self/comm")?;
    let is_hierarchy = |word: &str| everywhere.hierarchies.iter().any(|name| name == word);
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let name = word.trim_end_matches([',', ':', '.']);
        if !is_hierarchy(name) {
            words.push(word.to_owned());
            continue;
        }
        // A list of hierarchies is one word.
        words.pop_if(|last| last.trim_end_matches(',') == "HIERARCHIES");
        words.push(format!("HIERARCHIES{}", &word[name.len()..]));
    }
    let mut text = words.join(" ").replace(&everywhere.name, "/PATH").replace(comm.trim(), "CREATOR");
    if let (Some(from), Some(until)) = (text.find("ids: "), text.find("members: ")) {
        text.replace_range(from + "ids: ".len()..until, "IDS ");
    }
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    text = text.replace(&format!(", in {own})"), ", in CGROUP)");
    // One directory per hierarchy, in a command.
    if let Some((before, _)) = text.split_once(" rmdir ") {
        text = format!("{before} rmdir DIRECTORIES");
    }
    let mut numbers = String::new();
    for character in text.chars() {
        let is_digit = character.is_ascii_digit();
        if !is_digit || !numbers.ends_with('#') {
            numbers.push(if is_digit { '#' } else { character });
        }
    }
    let numbers = numbers.replace("#-#-#T#:#:#.#Z", "TIME").replace("#.# s", "# ms").replace("# s", "# ms");
    Ok(numbers.replace("# ms to # ms", "# ms"))
}

fn shared() -> Outcome {
    let daemon = Daemon::start()?;
    let everywhere = Everywhere::create()?;
    let path = everywhere.name.clone();
    let shown = |command: &str| redacted(&screen(&daemon, &[command, &path])?, &everywhere);
    assert_snapshot!(shown("exists")?, @"present on HIERARCHIES: created # ms ago at TIME (within # ms) by CREATOR[#] (uid #, in CGROUP)");
    assert_snapshot!(shown("wait")?, @"present after # ms present on HIERARCHIES: created # ms ago at TIME (within # ms) by CREATOR[#] (uid #, in CGROUP)");
    assert_snapshot!(shown("show")?, @"/PATH present on HIERARCHIES: created # ms ago at TIME (within # ms) by CREATOR[#] (uid #, in CGROUP) ids: IDS members: no process");
    assert_snapshot!(shown("why")?, @"/PATH: present '/PATH' exists on HIERARCHIES and HIERARCHIES, and contains no process. evidence: - HIERARCHIES: present, created at TIME (within # ms) by CREATOR[#] (uid #, in CGROUP) - it contains no process on HIERARCHIES also: empty '/PATH' contains no process. what to do: - if nothing uses it any more: rmdir DIRECTORIES");
    let none = "/cgtrace-test-none";
    assert_snapshot!(redacted(&screen(&daemon, &["exists", none])?, &everywhere)?, @"absent on HIERARCHIES: not seen since observation began at TIME");
    // What is similar to the path, and so the cause, depends on the tests that run beside this one.
    screen(&daemon, &["why", none])?;
    for cgroup in &everywhere.cgroups {
        fs::remove_dir(cgroup.path())?;
    }
    assert_snapshot!(shown("exists")?, @"absent on HIERARCHIES: removed # ms ago at TIME (within # ms) by CREATOR[#] (uid #, in CGROUP), after a lifetime of # ms");
    assert_snapshot!(shown("show")?, @"/PATH absent on HIERARCHIES: removed # ms ago at TIME (within # ms) by CREATOR[#] (uid #, in CGROUP), after a lifetime of # ms");
    assert_snapshot!(shown("why")?, @"/PATH: removed '/PATH' existed and was removed at TIME by CREATOR[#] (uid #, in CGROUP), after a lifetime of # ms. evidence: - HIERARCHIES: absent, removed at TIME (within # ms) by CREATOR[#] (uid #, in CGROUP), after a lifetime of # ms - removed # ms ago what to do: - cgtrace wait /PATH # returns as soon as it is created again");
    daemon.verify()
}
