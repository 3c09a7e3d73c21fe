//! The report of `why` as text.

use cgtrace_why::{
    Resolution,
    report::{Observer, Remedy, Report, Verdict},
    shell_word,
};

use super::{GONE, GOOD, Line, QUIET, escape, styled, task};

/// How many bytes of a command line are shown.
const MAX_COMMAND_LINE: usize = 300;

/// Each verdict: the cause, its explanation, evidence and remediation, then the other findings.
pub fn why(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(observer) = &report.observer {
        lines.push(observer_line(observer).into());
        lines.push(String::new().into());
    }
    for (number, verdict) in report.verdicts.iter().enumerate() {
        if number > 0 {
            lines.push(String::new().into());
        }
        append_verdict(verdict, &mut lines);
    }
    if !report.notes.is_empty() {
        lines.push(String::new().into());
        lines
            .extend(report.notes.iter().map(|note| styled(QUIET, &format!("note: {}", escape(note))).into()));
    }
    lines
}

fn observer_line(observer: &Observer) -> String {
    let mut line = format!("observer {}:", task(&observer.process.task));
    for (number, argument) in observer.arguments.iter().map(|argument| shell_word(argument)).enumerate() {
        if line.len() + argument.len() > MAX_COMMAND_LINE {
            line.push_str(&format!(" and {} more arguments", observer.arguments.len() - number));
            break;
        }
        line.push(' ');
        line.push_str(&argument);
    }
    styled(QUIET, &line)
}

/// `kubelet → /system.slice/kubelet.service`
pub fn resolution(resolution: &Resolution) -> Line {
    styled(QUIET, &resolution.text()).into()
}

fn append_verdict(verdict: &Verdict, lines: &mut Vec<Line>) {
    lines.extend(verdict.resolution.as_ref().map(resolution));
    let style = if verdict.visible { GOOD } else { GONE };
    lines.push(format!("{}: {}", shell_word(&verdict.path), styled(style, verdict.cause.as_str())).into());
    if let Some(source) = &verdict.source {
        lines.push(format!("  {}", styled(QUIET, &format!("source: {}", shell_word(source)))).into());
    }
    let result = &verdict.result;
    let parsed = [
        ("unit", &result.unit),
        ("slice", &result.slice),
        ("pod", &result.pod_uid),
        ("qos", &result.qos),
        ("container", &result.container_id),
        ("runtime", &result.runtime),
    ];
    let parsed: Vec<String> = parsed
        .into_iter()
        .filter_map(|(label, value)| Some(format!("{label} {}", escape(value.as_deref()?))))
        .collect();
    if !parsed.is_empty() {
        lines.push(format!("  {}", styled(QUIET, &parsed.join(", "))).into());
    }
    append_finding(&verdict.explanation, &verdict.evidence, &verdict.remediation, "  ", lines);
    for finding in &verdict.other_findings {
        lines.push(format!("  also: {}", finding.cause).into());
        // Lines that the first finding has are not repeated.
        let evidence = new(&finding.evidence, &verdict.evidence);
        let remediation = new(&finding.remediation, &verdict.remediation);
        append_finding(&finding.explanation, &evidence, &remediation, "    ", lines);
    }
}

/// The lines that the first finding does not have.
fn new<T: Clone + PartialEq>(lines: &[T], first: &[T]) -> Vec<T> {
    lines.iter().filter(|line| !first.contains(line)).cloned().collect()
}

fn append_finding(
    explanation: &str,
    evidence: &[String],
    remediation: &[Remedy],
    indent: &str,
    lines: &mut Vec<Line>,
) {
    lines.push(format!("{indent}{}", escape(explanation)).into());
    let item = |text: &str| format!("{indent}  - {}", escape(text));
    if !evidence.is_empty() {
        lines.push(format!("{indent}{}", styled(QUIET, "evidence:")).into());
        lines.extend(evidence.iter().map(|text| item(text).into()));
    }
    if !remediation.is_empty() {
        lines.push(format!("{indent}{}", styled(QUIET, "what to do:")).into());
        lines.extend(remediation.iter().map(|remedy| match &remedy.command {
            Some(command) => Line::Command { text: item(&remedy.text), command: escape(command) },
            None => item(&remedy.text).into(),
        }));
    }
}
