//! `doctor`: checks everything that cgtrace and the running kubelet depend on, on one page.
//!
//! Each topic has a file with the facts about it, how they are gathered with the privileges of the caller, and
//! the checks over them, which do no I/O. A fact that cannot be gathered is itself a finding.

mod daemon;
mod hierarchies;
mod history;
mod inotify;
mod kernel;
mod kubelet;
mod losses;
mod privileges;
mod service;
mod sockets;

use std::io;

use cgtrace_client::wire::{Check, CheckResult, DoctorReport};

use super::{Outcome, arguments::Doctor, connect::Connector, failure::Failure, output::Output, text};

use self::{
    daemon::DaemonFacts, hierarchies::HierarchyFacts, inotify::InotifyFacts, kernel::KernelFacts,
    kubelet::KubeletFacts, privileges::PrivilegeFacts, service::ServiceFacts, sockets::SocketFacts,
};

/// What to do if no daemon runs.
const START: &str = "sudo systemctl start cgtrace, or: sudo cgtrace daemon";

/// The width of the result and of the topic, with the spaces after them.
const RESULT_WIDTH: usize = 6;
const TOPIC_WIDTH: usize = 13;

pub fn run(doctor: &Doctor, connector: &Connector, output: &mut Output) -> Result<Outcome, Failure> {
    let (daemon, client) = DaemonFacts::gather(connector);
    let facts = Facts {
        kernel: KernelFacts::gather(),
        privileges: PrivilegeFacts::gather(),
        service: ServiceFacts::gather(),
        sockets: SocketFacts::gather(connector.endpoint()),
        daemon,
        hierarchies: HierarchyFacts::gather(),
        inotify: InotifyFacts::gather(),
        kubelet: KubeletFacts::gather(client, doctor.pid),
    };
    let report = report(facts.checks());
    if output.json {
        output.document(&report)?;
    } else {
        print(&report, output)?;
    }
    Ok(if report.failures == 0 { Outcome::Yes } else { Outcome::No })
}

/// What was found on this machine.
struct Facts {
    kernel: KernelFacts,
    privileges: PrivilegeFacts,
    service: ServiceFacts,
    sockets: SocketFacts,
    daemon: DaemonFacts,
    hierarchies: HierarchyFacts,
    inotify: InotifyFacts,
    kubelet: KubeletFacts,
}

impl Facts {
    fn checks(&self) -> Vec<Check> {
        let status = self.daemon.status();
        let answers = status.is_some();
        [
            kernel::checks(&self.kernel, status),
            vec![privileges::check(&self.privileges, answers)],
            vec![service::check(&self.service, answers)],
            sockets::checks(&self.sockets),
            vec![daemon::check(&self.daemon)],
            status.map(|status| history::checks(status, self.daemon.oldest())).unwrap_or_default(),
            status.map(losses::checks).unwrap_or_default(),
            hierarchies::checks(&self.hierarchies, status),
            inotify::checks(&self.inotify),
            kubelet::checks(&self.kubelet),
        ]
        .concat()
    }
}

fn report(checks: Vec<Check>) -> DoctorReport {
    let count = |result| checks.iter().filter(|check| check.result == result).count() as u64;
    DoctorReport { failures: count(CheckResult::Fail), warnings: count(CheckResult::Warn), checks }
}

fn ok(topic: &str, text: impl Into<String>) -> Check {
    Check { topic: topic.to_owned(), result: CheckResult::Ok, text: text.into(), next_step: None }
}

fn warn(topic: &str, text: impl Into<String>, next_step: impl Into<String>) -> Check {
    Check { result: CheckResult::Warn, next_step: Some(next_step.into()), ..ok(topic, text) }
}

fn fail(topic: &str, text: impl Into<String>, next_step: impl Into<String>) -> Check {
    Check { result: CheckResult::Fail, next_step: Some(next_step.into()), ..ok(topic, text) }
}

/// Why something failed, without the number in parentheses.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Prints a line per check, with the next step below it, once if the next check has the same.
fn print(report: &DoctorReport, output: &mut Output) -> Result<(), Failure> {
    let mut topic = "";
    for (number, check) in report.checks.iter().enumerate() {
        // A topic is named once.
        let named = if check.topic == topic { "" } else { &check.topic };
        topic = &check.topic;
        let head = format!("{}{named:TOPIC_WIDTH$}", text::check_result(check.result, RESULT_WIDTH));
        output.hanging(&head, &text::escape(&check.text))?;
        let follower = report.checks.get(number + 1).and_then(|check| check.next_step.as_ref());
        if let Some(next_step) = check.next_step.as_ref().filter(|next_step| follower != Some(*next_step)) {
            let indent = " ".repeat(RESULT_WIDTH + TOPIC_WIDTH);
            output.hanging(&indent, &format!("next: {}", text::escape(next_step)))?;
        }
    }
    output.line("")?;
    output.line(summary(report))
}

fn summary(report: &DoctorReport) -> String {
    let some = |count: u64, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let found: Vec<String> =
        [some(report.failures, "failure"), some(report.warnings, "warning")].into_iter().flatten().collect();
    if found.is_empty() { "all fine".to_owned() } else { found.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_and_warnings_are_counted() {
        let fine = report(vec![ok("kernel", "Linux")]);
        assert_eq!((fine.failures, summary(&fine).as_str()), (0, "all fine"));
        let checks = vec![ok("a", "a"), warn("b", "b", "c"), warn("d", "d", "e"), fail("f", "f", "g")];
        let report = report(checks);
        assert_eq!((report.failures, report.warnings), (1, 2));
        assert_eq!(summary(&report), "1 failure, 2 warnings");
    }
}
