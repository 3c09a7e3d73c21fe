//! Parses docs/protocol/protocol.md: its calls with their replies, and its table of errors.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

pub const DOCUMENT: &str = include_str!("../../../docs/protocol/protocol.md");
pub const INTERFACE: &str = include_str!("../../../cgtrace-client/src/io.cgtrace.varlink");

/// A call and the replies that the document shows.
#[derive(Clone, Debug)]
pub struct Example {
    pub call: Value,
    pub replies: Vec<Value>,
}

/// Every example. JSON outside a block is an error, because no test would check it.
pub fn examples(document: &str) -> Result<Vec<Example>> {
    let mut examples: Vec<Example> = Vec::new();
    let mut block = None;
    for line in document.lines() {
        if let Some(language) = line.strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language) };
            ensure!(
                matches!(block, None | Some("text" | "sh")),
                "a block of `{language}`: messages belong in blocks of `text`"
            );
        } else if block == Some("text") {
            let read = |text: &str| serde_json::from_str(text).with_context(|| format!("not JSON: {text}"));
            if let Some(call) = line.strip_prefix("→ ") {
                examples.push(Example { call: read(call)?, replies: Vec::new() });
            } else if let Some(reply) = line.strip_prefix("← ") {
                let example =
                    examples.last_mut().with_context(|| format!("a reply without a call: {reply}"))?;
                example.replies.push(read(reply)?);
            } else {
                bail!("neither a call nor a reply: {line}");
            }
        } else if block == Some("sh") {
            // The input of the shell's printf.
            if let Some((start, end)) = line.find('{').zip(line.rfind("\\0")) {
                let call = serde_json::from_str(&line[start..end]).with_context(|| line.to_owned())?;
                examples.push(Example { call, replies: Vec::new() });
            }
        } else {
            ensure!(!line.trim_start().starts_with('{'), "a message outside of a block: {line}");
        }
    }
    ensure!(block.is_none(), "an unterminated block");
    Ok(examples)
}

/// Every error of the table, with its parameters.
pub fn errors(document: &str) -> Result<BTreeMap<String, Value>> {
    let mut errors = BTreeMap::new();
    for line in document.lines() {
        let Some((name, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once("` |")) else {
            continue;
        };
        if !name.contains('.') {
            continue;
        }
        let example = rest.split_once('|').and_then(|(_, example)| example.trim().strip_suffix('|'));
        let example = example.with_context(|| format!("no parameters: {line}"))?.trim().trim_matches('`');
        let example = serde_json::from_str(example).with_context(|| format!("not JSON: {line}"))?;
        ensure!(errors.insert(name.to_owned(), example).is_none(), "{name} is listed twice");
    }
    Ok(errors)
}
