//! docs/protocol/protocol.md matches the daemon: each of its calls is made, and its replies are compared with
//! the daemon's. Also tests the guarantees for calls on one connection.

mod document;
mod errors;
mod shape;
mod stage;

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use self::{document::DOCUMENT, stage::Stage};
use crate::support::{
    Outcome,
    cgroup::{Cgroup, any},
    daemon::Daemon,
    raw::Raw,
    trial,
};

pub fn trials() -> Vec<Trial> {
    vec![
        trial("protocol::every_example_matches_a_real_reply", examples),
        trial("protocol::every_error_is_a_reply_to_a_real_call", errors),
        trial("protocol::wrong_examples_are_detected", nonsense),
        trial("protocol::pipelined_calls_are_answered_in_order", pipelined),
    ]
}

fn examples() -> Outcome {
    let shown = document::examples(DOCUMENT)?;
    let stage = Stage::set(shown.len())?;
    for (number, example) in shown.iter().enumerate() {
        stage.check(example, number)?;
    }
    // Every method, each with a reply.
    let answered: BTreeSet<&str> = shown
        .iter()
        .filter(|example| !example.replies.is_empty())
        .filter_map(|example| example.call["method"].as_str())
        .collect();
    let declared = document::INTERFACE
        .lines()
        .filter_map(|line| line.strip_prefix("method ")?.split('(').next())
        .map(|method| format!("io.cgtrace.{method}"));
    for method in declared
        .chain(["GetInfo", "GetInterfaceDescription"].map(|method| format!("org.varlink.service.{method}")))
    {
        ensure!(answered.contains(&*method), "the document shows no reply of {method}");
    }
    Ok(())
}

fn errors() -> Outcome {
    errors::ErrorDaemon::start()?.check(DOCUMENT)
}

/// A document with a wrong example does not pass.
fn nonsense() -> Outcome {
    let stage = Stage::set(1)?;
    let call = r#"→ {"method":"org.varlink.service.GetInfo"}"#;
    let info = DOCUMENT
        .lines()
        .find(|line| line.starts_with("← ") && line.contains("\"vendor\""))
        .context("no info")?;
    let passes = |call: &str, reply: &str| -> Outcome {
        let text = format!("```text\n{call}\n{reply}\n```\n");
        document::examples(&text)?.iter().try_for_each(|example| stage.check(example, 0))
    };
    passes(call, info)?;
    for (call, reply) in [
        // Another member, a missing one, another value, another type, another list, another end.
        (call, &*info.replace("\"url\"", "\"nope\":1,\"url\"")),
        (call, &*info.replace("\"url\":\"\",", "")),
        (call, &*info.replace("\"vendor\":\"cgtrace\"", "\"vendor\":\"acme\"")),
        (call, &*info.replace("\"vendor\":\"cgtrace\"", "\"vendor\":7")),
        (call, &*info.replace("\"interfaces\":[", "\"interfaces\":[\"io.nope\",")),
        (call, &*info.replace("}}", "},\"continues\":true}")),
        (r#"→ {"method":"io.cgtrace.Nope"}"#, info),
        (r#"→ {"method":"org.varlink.service.GetInfo","#, info),
        ("", info),
    ] {
        ensure!(passes(call, reply).is_err(), "passes: {call} {reply}");
    }
    passes(call, info)?;
    for text in ["{\"parameters\":{}}", "```json\n{}\n```", "```text\nsome\n```"] {
        ensure!(document::examples(text).is_err(), "passes: {text}");
    }
    let daemon = errors::ErrorDaemon::start()?;
    for row in [
        r#"| `io.cgtrace.Nope` | never | `{"reason":"…"}` |"#,
        "| `io.cgtrace.Nope` | never |",
        r#"| `io.cgtrace.InvalidState` | never | `{"known":[],"state":"gone"}` |"#,
    ] {
        ensure!(daemon.check(&format!("{DOCUMENT}\n{row}\n")).is_err(), "passes: {row}");
    }
    let limit = DOCUMENT.replace("{\"limit\":10000,", "{\"limit\":10001,");
    ensure!(limit != DOCUMENT && daemon.check(&limit).is_err(), "another limit passes");
    let fewer = DOCUMENT.replace("| `io.cgtrace.InvalidPattern`", "| `InvalidPattern`");
    ensure!(fewer != DOCUMENT && daemon.check(&fewer).is_err(), "an error that is not shown passes");
    Ok(())
}

fn pipelined() -> Outcome {
    const CALLS: usize = 500;
    let daemon = Daemon::start()?;
    let cgroup = Cgroup::new(any(), "pipelined")?;
    let mut raw = Raw::new(daemon.stream()?);
    for number in 0..CALLS {
        let names = [cgroup.name(), format!("/cgtrace-test-none-{number}"), "/".to_owned()];
        raw.send(
            &json!({"method": "io.cgtrace.Lookup", "parameters": {"paths": names, "hierarchy": any()}}),
        )?;
        // The replies do not fill the socket: this test reads them, with a lag.
        if number >= 50 {
            check(&raw.receive()?, &cgroup.name(), number - 50)?;
        }
    }
    for number in CALLS - 50..CALLS {
        check(&raw.receive()?, &cgroup.name(), number)?;
    }
    Ok(())
}

/// The results of one call are in the order of its paths, and of the same moment.
fn check(reply: &Value, name: &str, number: usize) -> Outcome {
    let answers = reply["parameters"]["results"].as_array().with_context(|| reply.to_string())?;
    let results: Vec<_> =
        answers.iter().map(|answer| (answer["path"].as_str(), answer["present"].as_bool())).collect();
    let none = format!("/cgtrace-test-none-{number}");
    let expected = [(Some(name), Some(true)), (Some(&*none), Some(false)), (Some("/"), Some(true))];
    ensure!(results == expected, "call {number}: {results:?}");
    Ok(())
}
