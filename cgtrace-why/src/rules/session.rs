//! A kubelet that a user started in a login session.

use super::{
    case::Case,
    observer::is_kubelet,
    rule_match::{RuleMatch, Weight},
    service, wording,
};
use crate::{facts::Observer, report::Remedy};

/// Whether a unit is the scope of a login session.
pub(crate) fn is_session(unit: &str) -> bool {
    unit.strip_suffix(".scope").is_some_and(|name| name.starts_with("session-"))
}

/// The observer, if it is a kubelet that runs in the login session of the subject.
pub(super) fn kubelet_in_session<'a>(case: &Case<'a>) -> Option<&'a Observer> {
    let of_session = case.parsed.unit.as_deref().is_some_and(is_session);
    let observer = case.facts.observer.as_ref().filter(|_| of_session)?;
    (is_kubelet(observer) && case.contains(&observer.process)).then_some(observer)
}

/// The kubelet asks for the cgroup in which it runs, and that is a login session.
pub(super) fn started_in_session(case: &Case) -> Option<RuleMatch> {
    let observer = kubelet_in_session(case)?;
    let process = &observer.process;
    let (task, path) = (wording::task(&process.task), wording::quoted(&case.path));
    let explanation = format!(
        "{task} runs in the login session {path}, not as a unit of its own. The session's cgroup contains the session's \
         other processes, too, and ends with the session."
    );
    let (pid, unit) = (process.task.pid, observer.unit.as_ref());
    let start = match unit.filter(|unit| unit.load_state == "loaded") {
        Some(unit) => {
            let start = format!("systemctl start {}", wording::word(&unit.id));
            Remedy::with(format!("stop pid {pid}, then {start}"), format!("kill {pid} && {start}"))
        }
        None => format!("create a unit kubelet.service for it, stop pid {pid}, and start the unit").into(),
    };
    Some(
        RuleMatch::new(Weight::Primary, explanation)
            .evidence(service::describe(process))
            .evidence(unit.map(service::state))
            .evidence(wording::results(case.results()))
            .remediation([start]),
    )
}
