//! Every cgroup that the running kubelet looks up, as `why --kubelet` explains it.

use cgtrace_client::{Client, wire::Check};
use cgtrace_why::{
    AskError, ObserverSelector, Question, ask,
    report::{Report, Verdict},
};

use super::{fail, ok, warn};
use crate::daemon::server;

/// The answer of `why --kubelet`, or why there is none.
#[derive(Debug)]
pub struct KubeletFacts(Result<Report, String>);

impl KubeletFacts {
    /// Asks the daemon or, without one, reads cgroupfs. Without a pid, the kubelet is found by its name.
    pub fn gather(daemon: Option<Client>, pid: Option<u32>) -> Self {
        let client = match daemon {
            Some(client) => Ok(client),
            None => server::from_cgroupfs().map(Client::from_stream),
        };
        let mut client = match client {
            Ok(client) => client,
            Err(error) => return Self(Err(error.to_string())),
        };
        let by_name = || ObserverSelector::Comm("kubelet".to_owned());
        let observer = Some(pid.map_or_else(by_name, ObserverSelector::Pid));
        let question = Question { observer, ..Question::default() };
        // A list of processes has a line for each.
        let on_one_line =
            |error: AskError| error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ");
        Self(ask(&mut client, &question).map_err(on_one_line))
    }
}

pub fn checks(KubeletFacts(report): &KubeletFacts) -> Vec<Check> {
    let report = match report {
        Ok(report) => report,
        Err(error) => return vec![warn("kubelet", error, "cgtrace doctor --pid PID")],
    };
    if report.observer.is_none() {
        return vec![ok("kubelet", "no kubelet runs here")];
    }
    if report.verdicts.is_empty() {
        return vec![ok("kubelet", "it looks up no cgroup by a path")];
    }
    report.verdicts.iter().map(check).collect()
}

/// The path and its cause; `why --kubelet` has the explanation.
fn check(verdict: &Verdict) -> Check {
    let text = format!("{}: {}", verdict.path, verdict.cause);
    if verdict.visible {
        return ok("kubelet", text);
    }
    let next = verdict.remediation.first().map(|remedy| remedy.text.clone());
    let next = next.unwrap_or_else(|| "cgtrace why --kubelet".to_owned());
    fail("kubelet", text, next)
}

#[cfg(test)]
mod tests {
    use cgtrace_client::wire::CheckResult;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_path_has_a_line() {
        assert_eq!(checks(&KubeletFacts(Ok(Report::default())))[0].text, "no kubelet runs here");
        assert_eq!(checks(&KubeletFacts(Err("which?".to_owned())))[0].result, CheckResult::Warn);
        let report = json!({ "observer": {}, "verdicts": [
            { "path": "/a", "visible": true, "cause": "present" },
            { "path": "/b", "visible": false, "cause": "removed",
              "remediation": [{ "text": "start it" }] },
        ]});
        let report = serde_json::from_value(report).unwrap();
        let checks = checks(&KubeletFacts(Ok(report)));
        assert_eq!(checks[0].text, "/a: present");
        assert_eq!(checks[1].text, "/b: removed");
        assert_eq!(checks[1].next_step.as_deref(), Some("start it"));
        assert_eq!(checks[1].result, CheckResult::Fail);
    }
}
