//! The JSON output of commands is a contract. Its schemas are stored in `docs/protocol/schema/`, so that a
//! change shows up in review. `CGTRACE_WRITE_SCHEMA=1 cargo test -p cgtrace --test schema` regenerates them.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use cgtrace_client::wire;
use cgtrace_why::WithResolution;
use schemars::{JsonSchema, generate::SchemaSettings};

#[expect(clippy::expect_used, reason = "test code")]
fn schema_of<T: JsonSchema>() -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    remove_examples(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

/// Removes Rust examples from descriptions.
fn remove_examples(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                match value {
                    serde_json::Value::String(text) if name == "description" => {
                        text.truncate(text.find("\n\n```").unwrap_or(text.len()));
                    }
                    value => remove_examples(value),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(remove_examples),
        _ => {}
    }
}

/// The schema of each command's `--json` output.
fn schemas() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("exists", schema_of::<wire::Answer<WithResolution<wire::PathResult>>>()),
        ("wait", schema_of::<wire::Answer<WithResolution<wire::WaitReply>>>()),
        ("show", schema_of::<wire::Answer<cgtrace_why::ShowReport>>()),
        ("list", schema_of::<wire::Answer<wire::ListReply>>()),
        ("tree", schema_of::<wire::Answer<wire::ListReply>>()),
        ("list-removed", schema_of::<wire::RemovedReply>()),
        ("events", schema_of::<wire::EventLine>()),
        ("log", schema_of::<wire::EventLine>()),
        ("config-check", schema_of::<wire::ConfigChecked>()),
        ("unpin", schema_of::<wire::Unpinned>()),
        ("doctor", schema_of::<wire::DoctorReport>()),
        ("status", schema_of::<wire::Status>()),
        ("why", schema_of::<wire::Answer<cgtrace_why::report::Report>>()),
        ("metrics", schema_of::<wire::MetricsReply>()),
        ("verify", schema_of::<wire::VerifyReply>()),
    ])
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol/schema"))
}

#[test]
fn the_stored_schemas_match_the_code() {
    if env::var_os("CGTRACE_WRITE_SCHEMA").is_some() {
        fs::create_dir_all(folder()).expect("docs/protocol/schema can be created");
        for (command, schema) in schemas() {
            fs::write(folder().join(format!("{command}.json")), schema).expect("a schema can be written");
        }
    }
    let mut stored = BTreeMap::new();
    for entry in fs::read_dir(folder()).expect("docs/protocol/schema exists") {
        let path = entry.expect("docs/protocol/schema can be read").path();
        let command = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        stored.insert(command, fs::read_to_string(&path).expect("a schema can be read"));
    }
    let commands: Vec<&str> = stored.keys().map(String::as_str).collect();
    assert_eq!(
        commands,
        schemas().into_keys().collect::<Vec<_>>(),
        "one schema for each command that prints JSON"
    );
    for (command, schema) in schemas() {
        assert!(
            stored.get(command) == Some(&schema),
            "docs/protocol/schema/{command}.json differs from the output of `{command} --json`; if the change is \
             intended, run CGTRACE_WRITE_SCHEMA=1 cargo test -p cgtrace --test schema"
        );
    }
}
