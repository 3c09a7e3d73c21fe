//! The answer to `why`, for people.

use cgtrace_why::{
    report::{Finding, Observer, Report, Verdict},
    shell_word,
};

use super::{GONE, GOOD, QUIET, escape, styled, task};

/// How much of a command line is shown.
const ARGUMENTS_SHOWN: usize = 300;

/// Every name's verdict: what is so, why, what says so, what to do; then what else holds.
pub fn why(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(observer) = &report.observer {
        lines.push(asked_by(observer));
        lines.push(String::new());
    }
    for (number, verdict) in report.verdicts.iter().enumerate() {
        if number > 0 {
            lines.push(String::new());
        }
        one(verdict, &mut lines);
    }
    if !report.notes.is_empty() {
        lines.push(String::new());
        lines.extend(report.notes.iter().map(|note| styled(QUIET, &format!("note: {}", escape(note)))));
    }
    lines
}

fn asked_by(observer: &Observer) -> String {
    let mut line = format!("asked by {}:", task(&observer.process.task));
    for (number, argument) in observer.arguments.iter().map(|argument| shell_word(argument)).enumerate() {
        if line.len() + argument.len() > ARGUMENTS_SHOWN {
            line.push_str(&format!(" and {} more words", observer.arguments.len() - number));
            break;
        }
        line.push(' ');
        line.push_str(&argument);
    }
    styled(QUIET, &line)
}

fn one(verdict: &Verdict, lines: &mut Vec<String>) {
    let Verdict {
        path: name,
        source: setting,
        visible: seen,
        cause,
        explanation,
        evidence,
        remediation: fix,
        other_findings: also,
        result: answer,
        ..
    } = verdict;
    let style = if *seen { GOOD } else { GONE };
    lines.push(format!("{}: {}", shell_word(name), styled(style, cause)));
    if let Some(setting) = setting {
        lines.push(format!("  {}", styled(QUIET, &format!("asked for by {}", shell_word(setting)))));
    }
    let named = [
        ("unit", &answer.unit),
        ("slice", &answer.slice),
        ("pod", &answer.pod_uid),
        ("qos", &answer.qos),
        ("container", &answer.container_id),
        ("runtime", &answer.runtime),
    ];
    let named: Vec<String> = named
        .into_iter()
        .filter_map(|(what, value)| Some(format!("{what} {}", escape(value.as_deref()?))))
        .collect();
    if !named.is_empty() {
        lines.push(format!("  {}", styled(QUIET, &named.join(", "))));
    }
    finding(explanation, evidence, fix, "  ", lines);
    for Finding { cause, explanation, evidence, remediation: fix } in also {
        lines.push(format!("  also: {}", escape(cause)));
        // What was told already is not told again.
        let told = |line: &&String| !verdict.evidence.contains(line);
        let evidence: Vec<String> = evidence.iter().filter(told).cloned().collect();
        let told = |line: &&String| !verdict.remediation.contains(line);
        let fix: Vec<String> = fix.iter().filter(told).cloned().collect();
        finding(explanation, &evidence, &fix, "    ", lines);
    }
}

fn finding(explanation: &str, evidence: &[String], fix: &[String], indent: &str, lines: &mut Vec<String>) {
    lines.push(format!("{indent}{}", escape(explanation)));
    for (title, texts) in [("evidence:", evidence), ("what to do:", fix)] {
        if texts.is_empty() {
            continue;
        }
        lines.push(format!("{indent}{}", styled(QUIET, title)));
        lines.extend(texts.iter().map(|text| format!("{indent}  - {}", escape(text))));
    }
}
