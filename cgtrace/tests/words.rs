//! `docs/protocol/words.txt` lists every public word, so that a change of vocabulary is seen in review.
//! `CGTRACE_WRITE_WORDS=1 cargo test -p cgtrace --test words` rewrites the list. The metrics' names are
//! compared with a running daemon's, by `tests/promises/metrics.rs`.

#![expect(clippy::panic, clippy::unwrap_used, reason = "test code")]

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use cgtrace::daemon::{config::Settings, probe::Kind};
use cgtrace_client::CgroupState;
use serde_json::Value;

type Words = BTreeSet<String>;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The types, methods and errors of the interface, with their fields.
fn interface(words: &mut Words) {
    let mut declared = String::new();
    for line in read("cgtrace-client/src/io.cgtrace.varlink").lines() {
        let line = line.split('#').next().unwrap_or_default();
        if let [keyword @ ("type" | "method" | "error"), rest @ ..] =
            &line.split_whitespace().collect::<Vec<_>>()[..]
        {
            let name = rest.first().and_then(|name| name.split('(').next()).unwrap_or_default();
            declared = format!("{keyword} {name}");
            words.insert(declared.clone());
        }
        let inner = line.split_once('(').map_or(line, |(_, fields)| fields);
        for field in inner.split([',', '(', ')']) {
            if let Some((name, _)) = field.split_once(':') {
                words.insert(format!("{declared}.{}", name.trim()));
            }
        }
    }
}

/// The members of the documents that the command line prints.
fn json(words: &mut Words) {
    fn members(command: &str, schema: &Value, words: &mut Words) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    words.extend(properties.keys().map(|name| format!("json {command}: {name}")));
                }
                object.values().for_each(|value| members(command, value, words));
            }
            Value::Array(values) => values.iter().for_each(|value| members(command, value, words)),
            _ => {}
        }
    }
    for entry in fs::read_dir(root().join("docs/protocol/schema")).unwrap() {
        let path = entry.unwrap().path();
        let command = path.file_stem().unwrap().to_string_lossy().into_owned();
        let schema = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        members(&command, &schema, words);
    }
}

/// The commands, their flags and the values that flags take.
fn command_line(words: &mut Words) {
    fn command(name: &str, description: &clap::Command, words: &mut Words) {
        for argument in
            description.get_arguments().filter(|argument| !argument.is_global_set() || name == "cgtrace")
        {
            let long = argument.get_long().map(|long| format!("--{long}"));
            let flag = long.unwrap_or_else(|| argument.get_id().to_string().to_uppercase());
            let short = argument.get_short().map(|short| format!(" -{short}")).unwrap_or_default();
            words.insert(format!("flag {name} {flag}{short}"));
            let values = argument.get_action().takes_values().then(|| argument.get_possible_values());
            for value in values.into_iter().flatten() {
                words.insert(format!("value {name} {flag} {}", value.get_name()));
            }
        }
        for inner in description.get_subcommands() {
            let name = format!("{name} {}", inner.get_name());
            words.insert(format!("command {name}"));
            command(&name, inner, words);
        }
    }
    command("cgtrace", &cgtrace::cli::command(), words);
}

/// The functions and constants of `cgtrace.h`.
fn c_header(words: &mut Words) {
    let header = read("cgtrace-client-c/include/cgtrace.h");
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let all = header.split(|character| !is_word(character));
    words.extend(
        all.filter(|word| word.starts_with("cgtrace_") || word.starts_with("CGTRACE_"))
            .map(|word| format!("c {word}")),
    );
}

#[test]
fn every_public_word_is_listed() {
    let mut words = Words::new();
    interface(&mut words);
    json(&mut words);
    command_line(&mut words);
    c_header(&mut words);
    words.extend(Kind::EVENTS.map(|kind| format!("kind {kind}")));
    words.extend(CgroupState::ALL.map(|state| format!("state {}", state.as_str())));
    words.extend(cgtrace_why::rules::causes().map(|cause| format!("cause {cause}")));
    words.extend(Settings::keys().into_iter().map(|key| format!("key {key}")));
    let path = root().join("docs/protocol/words.txt");
    let listed = fs::read_to_string(&path).unwrap_or_default();
    let (metrics, listed): (Words, Words) =
        listed.lines().map(str::to_owned).partition(|line| line.starts_with("metric "));
    if env::var_os("CGTRACE_WRITE_WORDS").is_some() {
        let all: Vec<_> = words.union(&metrics).cloned().collect();
        fs::write(&path, all.join("\n") + "\n").unwrap();
        return;
    }
    let added: Vec<_> = words.difference(&listed).collect();
    let removed: Vec<_> = listed.difference(&words).collect();
    assert!(
        added.is_empty() && removed.is_empty(),
        "docs/protocol/words.txt lacks {added:?} and has too much {removed:?}: if the change is meant, \
         CGTRACE_WRITE_WORDS=1 cargo test -p cgtrace --test words"
    );
}
