//! The JSON that commands print is a contract: its schemas stand in `docs/protocol/schema/`, so that a change of it is seen in
//! review. `CGTRACE_WRITE_SCHEMA=1 cargo test -p cgtrace --test schema` writes them anew.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use cgtrace_client::wire;
use schemars::{JsonSchema, generate::SchemaSettings};

#[expect(clippy::expect_used, reason = "a test's own")]
fn of<T: JsonSchema>() -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    without_examples(&mut schema);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}

/// The documentation's examples are for those who write Rust.
fn without_examples(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                match value {
                    serde_json::Value::String(text) if name == "description" => {
                        text.truncate(text.find("\n\n```").unwrap_or(text.len()));
                    }
                    value => without_examples(value),
                }
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(without_examples),
        _ => {}
    }
}

/// Each document, or line, that a command prints with `--json`.
fn schemas() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("exists", of::<wire::PathResult>()),
        ("wait", of::<wire::WaitReply>()),
        ("show", of::<cgtrace_why::Shown>()),
        ("list", of::<wire::ListReply>()),
        ("tree", of::<wire::ListReply>()),
        ("events", of::<wire::EventLine>()),
        ("config-check", of::<wire::ConfigChecked>()),
        ("unpin", of::<wire::Unpinned>()),
        ("status", of::<wire::Status>()),
        ("why", of::<cgtrace_why::report::Report>()),
        ("metrics", of::<wire::MetricsReply>()),
        ("verify", of::<wire::VerifyReply>()),
    ])
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol/schema"))
}

#[test]
fn the_stored_schemas_are_those_of_the_code() {
    if env::var_os("CGTRACE_WRITE_SCHEMA").is_some() {
        fs::create_dir_all(folder()).expect("docs/protocol/schema can be made");
        for (command, schema) in schemas() {
            fs::write(folder().join(format!("{command}.json")), schema).expect("a schema can be written");
        }
    }
    let mut stored = BTreeMap::new();
    for entry in fs::read_dir(folder()).expect("docs/protocol/schema is there") {
        let path = entry.expect("docs/protocol/schema can be read").path();
        let command = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        stored.insert(command, fs::read_to_string(&path).expect("a schema can be read"));
    }
    let commands: Vec<&str> = stored.keys().map(String::as_str).collect();
    assert_eq!(commands, schemas().into_keys().collect::<Vec<_>>(), "one schema a command that prints JSON");
    for (command, schema) in schemas() {
        assert!(
            stored.get(command) == Some(&schema),
            "docs/protocol/schema/{command}.json is not what `{command} --json` prints: if the change is meant, \
             CGTRACE_WRITE_SCHEMA=1 cargo test -p cgtrace --test schema"
        );
    }
}
