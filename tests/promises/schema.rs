//! The output of `--json` matches the schemas in `docs/protocol/schema/`.

use std::fs;

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    process::Sleeper,
    process::put,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("schema::every_commands_output_matches_its_schema", every_command),
        trial("schema::a_gap_in_a_stream_is_a_separate_line", lagged),
        trial("schema::the_checker_finds_violations", checker),
    ]
}

fn every_command() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "schema")?;
    let name = cgroup.name();
    let previous = cgroup.join("previous");
    fs::create_dir(&previous)?;
    let sleeper = Sleeper::start()?;
    put(cgroup.path(), "cgroup.procs", sleeper.pid())?;
    fs::remove_dir(&previous)?;
    let previous = cgroup.name_of(&previous);
    let pid = std::process::id().to_string();
    let calls: &[(&str, &[&str])] = &[
        ("exists", &["exists", &name]),
        ("exists", &["exists", &previous]),
        ("wait", &["wait", &name, "--until", "populated"]),
        ("wait", &["wait", &previous, "--timeout", "1ms"]),
        ("show", &["show", &name]),
        ("list", &["list", &name]),
        ("tree", &["tree", &name]),
        ("events", &["events", "--since-seq", "0", "--count", "4", &name]),
        ("list", &["list", "--empty", &name]),
        ("doctor", &["doctor", "--pid", &pid]),
        ("status", &["status"]),
        ("why", &["why", &name, "--pid", &pid]),
        ("why", &["why", &previous]),
        ("verify", &["verify"]),
        ("metrics", &["metrics"]),
        (
            "config-check",
            &["config", "check", concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/cgtrace.toml")],
        ),
        ("unpin", &["unpin", "/nonexistent/cgtrace"]),
    ];
    for (command, arguments) in calls {
        let output = daemon.run(&[*arguments, &["--json"]].concat())?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(
            !text.trim().is_empty(),
            "{arguments:?} printed nothing: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        validate(command, &text).with_context(|| format!("{arguments:?}"))?;
    }
    Ok(())
}

/// Validates each line against a command's schema.
fn validate(command: &str, text: &str) -> Outcome {
    let stored = format!("{}/../docs/protocol/schema/{command}.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(stored)?)?;
    for line in text.lines() {
        let document: Value = serde_json::from_str(line)?;
        check(&schema, &schema, &document).with_context(|| document.to_string())?;
    }
    Ok(())
}

fn lagged() -> Outcome {
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "lagged")?;
    fs::create_dir(cgroup.join("a"))?;
    // The numbers of a history in memory do not begin at 1: what was before is unknown.
    let output = daemon.run(&["--json", "events", "--since-seq", "0", "--count", "1", &cgroup.name()])?;
    let text = String::from_utf8(output.stdout)?;
    validate("events", &text)?;
    let first: Value = serde_json::from_str(text.lines().next().context("nothing was printed")?)?;
    let gap = &first["gap"];
    ensure!(gap["reason"] == "retention" && gap["until"]["boot_ns"].is_u64(), "{text}");
    ensure!(gap.get("lost").is_none() && gap.get("uid").is_none(), "{text}");
    let second: Value = serde_json::from_str(text.lines().nth(1).context("no event was printed")?)?;
    ensure!(second["kind"] == "mkdir" && text.lines().count() == 2, "{text}");
    Ok(())
}

fn checker() -> Outcome {
    let schema: Value = serde_json::from_str(
        r##"{"type":"object","required":["a"],"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"integer"}}}"##,
    )?;
    check(&schema, &schema, &serde_json::json!({"a": 1}))?;
    for wrong in ["{}", r#"{"a":"1"}"#, r#"{"a":1,"b":2}"#, "1"] {
        let wrong = serde_json::from_str(wrong)?;
        ensure!(check(&schema, &schema, &wrong).is_err(), "{wrong} was accepted");
    }
    let unknown = serde_json::json!({"pattern": "x"});
    ensure!(check(&unknown, &unknown, &Value::Null).is_err(), "an unknown keyword was ignored");
    Ok(())
}

/// Validates a document. Unlike JSON Schema itself, this rejects members that are not in `properties`, and
/// schema keywords that it does not know, so that nothing remains unchecked.
fn check(root: &Value, schema: &Value, document: &Value) -> Result<()> {
    if schema == &Value::Bool(true) {
        return Ok(());
    }
    let keywords = schema.as_object().context("a schema must be an object")?;
    for (keyword, value) in keywords {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "format" | "default" | "$defs" => {}
            "$ref" => {
                let pointer =
                    value.as_str().and_then(|at| at.strip_prefix('#')).context("a $ref must be local")?;
                check(root, root.pointer(pointer).context("a $ref must resolve")?, document)?;
            }
            "type" => {
                let types = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                ensure!(types.iter().any(|kind| is_of(kind, document)), "{document} is not of type {value}");
            }
            "const" => ensure!(document == value, "{document} is not {value}"),
            "anyOf" | "oneOf" => {
                let any = value.as_array().context("anyOf must be a list")?;
                ensure!(
                    any.iter().any(|one| check(root, one, document).is_ok()),
                    "{document} matches none of {value}"
                );
            }
            "enum" => ensure!(
                value.as_array().is_some_and(|all| all.contains(document)),
                "{document} is not in {value}"
            ),
            "minimum" => {
                ensure!(document.as_f64() >= value.as_f64() || document.is_null(), "{document} < {value}");
            }
            "maximum" => ensure!(document.as_f64() <= value.as_f64(), "{document} > {value}"),
            "items" => {
                for item in document.as_array().into_iter().flatten() {
                    check(root, value, item)?;
                }
            }
            "required" => {
                for name in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    ensure!(document.get(name).is_some() || !document.is_object(), "`{name}` is missing");
                }
            }
            "properties" => {
                for (name, inner) in document.as_object().into_iter().flatten() {
                    let property =
                        value.get(name).with_context(|| format!("`{name}` is not in the schema"))?;
                    check(root, property, inner).with_context(|| format!("`{name}`"))?;
                }
            }
            unknown => bail!("unsupported keyword `{unknown}`"),
        }
    }
    Ok(())
}

fn is_of(kind: &Value, document: &Value) -> bool {
    match kind.as_str() {
        Some("object") => document.is_object(),
        Some("array") => document.is_array(),
        Some("string") => document.is_string(),
        Some("integer") => document.is_u64() || document.is_i64(),
        Some("number") => document.is_number(),
        Some("boolean") => document.is_boolean(),
        Some("null") => document.is_null(),
        _ => false,
    }
}
