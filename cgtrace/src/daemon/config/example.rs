//! The annotated example says what the code does: every key, and every default.

use std::collections::BTreeMap;

use clap::Args as _;

use super::{Config, Settings};

const EXAMPLE: &str = include_str!("../../../../deploy/cgtrace.toml");

/// Off unless set: the example shows what it could be.
const OFF: [&str; 2] = ["metrics-listen", "pin"];

/// The lines that set a key, by the key.
fn lines() -> BTreeMap<&'static str, &'static str> {
    EXAMPLE
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .filter_map(|line| line.split_once(" = "))
        .collect()
}

#[test]
fn the_example_is_valid_as_it_stands() {
    assert_eq!(toml::from_str::<Settings>(EXAMPLE).unwrap(), Settings::default());
}

#[test]
fn the_example_has_every_key() {
    assert_eq!(lines().into_keys().map(str::to_owned).collect::<Vec<_>>(), Settings::keys());
}

#[test]
fn the_example_s_values_are_the_defaults() {
    let defaults = Config::from(Settings::default());
    for (key, value) in lines() {
        let settings: Settings = toml::from_str(&format!("{key} = {value}")).unwrap();
        settings.check().unwrap();
        assert_ne!(settings, Settings::default(), "{key} sets nothing");
        if !OFF.contains(&key) {
            assert_eq!(Config::from(settings), defaults, "{key} = {value} is not the default");
        }
    }
}

/// The help of a flag tells the same default.
#[test]
fn the_help_tells_the_defaults() {
    let lines = lines();
    let flags = Settings::augment_args(clap::Command::new("daemon"));
    for flag in flags.get_arguments() {
        let (Some(key), Some(help)) = (flag.get_long(), flag.get_help()) else { continue };
        let help = help.to_string();
        if let Some((_, told)) = help.split_once("[default: ")
            && !OFF.contains(&key)
        {
            assert_eq!(lines[key].trim_matches('"'), told.trim_end_matches(']'), "{key}");
        }
    }
}
