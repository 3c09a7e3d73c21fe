//! Output of `cgtrace doctor --json`, which is not on the wire.

use serde::{Deserialize, Serialize};

/// The document that `cgtrace doctor --json` prints.
///
/// ```
/// # use cgtrace_client::wire::DoctorReport;
/// let line = r#"{"failures":0,"warnings":0,"checks":[{"topic":"kernel","result":"ok","text":"Linux 6.1"}]}"#;
/// let report: DoctorReport = serde_json::from_str(line)?;
/// assert_eq!(report.checks[0].topic, "kernel");
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct DoctorReport {
    /// How many checks failed. The exit status is 1 unless it is 0.
    pub failures: u64,
    /// How many checks have a warning.
    pub warnings: u64,
    /// Every check, in the order of the page.
    pub checks: Vec<Check>,
}

/// One check of `cgtrace doctor`.
///
/// ```
/// # use cgtrace_client::wire::{Check, CheckResult};
/// let check: Check = serde_json::from_str(
///     r#"{"topic":"daemon","result":"fail","text":"not running","next_step":"sudo cgtrace daemon"}"#,
/// )?;
/// assert_eq!(check.result, CheckResult::Fail);
/// # Ok::<(), cgtrace_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub struct Check {
    /// What was checked: kernel, btf, lockdown, tracepoints, privileges, service, sockets, daemon, history,
    /// losses, hierarchies, inotify or kubelet. Several checks can have the same topic.
    pub topic: String,
    /// Its result.
    pub result: CheckResult,
    /// What was found.
    pub text: String,
    /// What to do about it, unless it is ok.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
}

/// The result of a check of `cgtrace doctor`.
///
/// ```
/// # use cgtrace_client::wire::CheckResult;
/// assert!(CheckResult::Ok < CheckResult::Warn && CheckResult::Warn < CheckResult::Fail);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(any(doc, not(feature = "exhaustive")), non_exhaustive)]
pub enum CheckResult {
    /// Nothing is wrong.
    #[default]
    Ok,
    /// Something works less well than it could, or will not work later.
    Warn,
    /// Something does not work.
    Fail,
}
