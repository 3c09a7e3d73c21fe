//! The flags on command lines, and in files that take their place.

use std::collections::BTreeMap;

use super::Setting;

/// Words with flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// The words, without the program.
    pub words: Vec<String>,
    /// The file that contains them; `None` for the command line.
    pub file: Option<String>,
    /// Whether they are those of a program that contains a kubelet, which has `--kubelet-arg` for its flags.
    pub embedding: bool,
}

/// The options of other programs that pass flags to their kubelet.
const PASSED: [&str; 2] = ["kubelet-arg", "kubelet-extra-args"];

/// A flag as it is written.
struct Flag {
    /// The name, with `-` for `_`.
    name: String,
    value: String,
    source: String,
}

impl Arguments {
    /// The arguments in a file with one per line, as microk8s has it.
    pub(crate) fn of_file(file: &str, text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with('-'));
        let unquoted = |value: &str| value.trim().trim_matches(['"', '\'']).to_owned();
        let words = lines.flat_map(|line| match line.split_once(['=', ' ']) {
            Some((flag, value)) => vec![format!("{flag}={}", unquoted(value))],
            None => vec![line.to_owned()],
        });
        Self { words: words.collect(), file: Some(file.to_owned()), embedding: false }
    }

    /// The value of an option of the program that contains the kubelet.
    pub(crate) fn option(&self, name: &str) -> Option<String> {
        self.written().into_iter().rev().find(|flag| flag.name == name).map(|flag| flag.value)
    }

    /// Adds kubelet's flags to those before, which they override, and to `hidden` the flags that are part of
    /// another one's value.
    pub(super) fn read(&self, flags: &mut BTreeMap<String, Setting>, hidden: &mut Vec<(String, Setting)>) {
        let file = self.file.as_ref().map(|file| format!(" (in {file})")).unwrap_or_default();
        for Flag { name, value, source } in self.written() {
            let source = format!("{source}{file}");
            let passed: Vec<(&str, &str)> = match name.as_str() {
                "kubelet-arg" => vec![passed(&value)],
                "kubelet-extra-args" => value.split_whitespace().map(passed).collect(),
                _ if self.embedding => continue,
                _ => vec![(&name, &value)],
            };
            for (name, value) in passed {
                let mut within = value.split_whitespace().skip(1).filter_map(flag);
                hidden.extend(within.by_ref().map(|(name, value)| {
                    let setting = Setting {
                        source: source.clone(),
                        value: value.unwrap_or_default().to_owned(),
                        is_hidden: true,
                    };
                    (name, setting)
                }));
                let setting = Setting { source: source.clone(), value: value.to_owned(), is_hidden: false };
                flags.insert(name.replace('_', "-"), setting);
            }
        }
    }

    /// The flags in their order.
    fn written(&self) -> Vec<Flag> {
        let mut flags = Vec::new();
        let mut words = self.words.iter().peekable();
        while let Some(word) = words.next() {
            let Some((name, value)) = flag(word) else { continue };
            let (source, value) = match value {
                Some(value) => (word.clone(), value.to_owned()),
                // A switch takes no value from the next word. One that is for another program's kubelet may begin
                // with `-`.
                None => match words.next_if(|next| {
                    name != "docker-only" && (PASSED.contains(&&*name) || !next.starts_with('-'))
                }) {
                    Some(value) => (format!("{word} {value}"), value.clone()),
                    None => (word.clone(), "true".to_owned()),
                },
            };
            flags.push(Flag { name, value, source });
        }
        flags
    }
}

/// A word's flag, with `-` for `_`, and its value, if the word has one.
fn flag(word: &str) -> Option<(String, Option<&str>)> {
    let flag = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
    Some((name.replace('_', "-"), value))
}

/// The flag in the value of `--kubelet-arg`.
fn passed(argument: &str) -> (&str, &str) {
    argument.trim_start_matches('-').split_once('=').unwrap_or((argument.trim_start_matches('-'), "true"))
}
