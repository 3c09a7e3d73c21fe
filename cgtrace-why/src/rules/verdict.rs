//! What a rule found.

use crate::report::Finding;

/// How much of what was asked a cause explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// All of it: with this mended, it would be there and seen.
    Explains,
    /// Something; more may be amiss.
    Contributes,
    /// Nothing by itself, but worth knowing.
    Remarks,
}

/// What a rule found; its cause is the rule's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub weight: Weight,
    /// Whether it keeps the observer from seeing what is present.
    pub hides: bool,
    pub finding: Finding,
}

impl Found {
    pub fn new(weight: Weight, explanation: String) -> Self {
        Self { weight, hides: false, finding: Finding { explanation, ..Finding::default() } }
    }

    pub fn hiding(self) -> Self {
        self.hiding_if(true)
    }

    pub fn hiding_if(self, hides: bool) -> Self {
        Self { hides, ..self }
    }

    pub fn because(mut self, evidence: impl IntoIterator<Item = String>) -> Self {
        self.finding.evidence.extend(evidence);
        self
    }

    /// Advises what can be done with a path that may be used, or says why it is not advised.
    pub fn advise(mut self, usable: Result<String, String>, fix: impl FnOnce(&str) -> String) -> Self {
        match usable {
            Ok(path) => self.finding.remediation.push(fix(&path)),
            Err(reason) => self.finding.evidence.push(reason),
        }
        self
    }

    pub fn mend(mut self, fix: impl IntoIterator<Item = String>) -> Self {
        self.finding.remediation.extend(fix);
        self
    }
}
