//! The result of a rule whose cause holds.

use crate::report::{Finding, Remedy};

/// How much a cause explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Everything: once this is fixed, the cgroup exists and is visible.
    Primary,
    /// A part; there may be other causes.
    Contributing,
    /// Nothing by itself, but useful to know.
    Informational,
}

/// The result of a rule; the caller fills in the cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleMatch {
    pub weight: Weight,
    /// Whether it hides an existing cgroup from the observer.
    pub hides: bool,
    pub finding: Finding,
}

impl RuleMatch {
    pub fn new(weight: Weight, explanation: String) -> Self {
        Self { weight, hides: false, finding: Finding { explanation, ..Finding::default() } }
    }

    pub fn hides(self) -> Self {
        self.hides_if(true)
    }

    pub fn hides_if(self, hides: bool) -> Self {
        Self { hides, ..self }
    }

    pub fn evidence(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.finding.evidence.extend(evidence);
        self
    }

    /// Adds a remediation that uses a path; if the path is not safe to use, adds the reason as evidence
    /// instead.
    pub fn suggest(
        mut self,
        usable: Result<String, String>,
        remediation: impl FnOnce(&str) -> String,
    ) -> Self {
        match usable {
            Ok(path) => self.finding.remediation.push(remediation(&path).into()),
            Err(reason) => self.finding.evidence.push(reason),
        }
        self
    }

    pub fn remediation(mut self, remediation: impl IntoIterator<Item: Into<Remedy>>) -> Self {
        self.finding.remediation.extend(remediation.into_iter().map(Into::into));
        self
    }
}
