//! What `why` answers.

use serde::{Deserialize, Serialize};

/// Why a cgroup is not there, or not seen. The words are stable; the order is that of the catalogue
/// (`docs/why.md`), which is how two causes of one weight are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It exists.
    Present,
    /// It exists on some hierarchies only.
    PresentElsewhere,
    /// The name carries a mount directory.
    MountPathInName,
    /// The name is relative to a cgroup namespace.
    NamespaceRelative,
    /// The name is spelt otherwise.
    Misspelt,
    /// The process runs, but outside of the service manager.
    NotUnderSystemd,
    /// The service manager knows the unit, which does not run.
    UnitNotStarted,
    /// Nothing of that name runs, and no unit is known.
    NoSuchProcess,
    /// It existed and was removed.
    Removed,
    /// The process was in it and was moved elsewhere.
    MovedAway,
    /// The asker made the wrong name itself.
    MadeByAsker,
    /// It came to exist after the asker had fixed its list.
    AfterAskerStarted,
    /// The asker's own filter hides it.
    HiddenFromAsker,
    /// Watchers of files ran out.
    WatchExhausted,
    /// The asker's namespace or mounts do not show it.
    OtherHostView,
    /// Not seen since knowledge began; what was before is not known.
    UnknownBefore,
}

impl Cause {
    /// All, in the catalogue's order.
    pub const ALL: [Self; 16] = [
        Self::Present,
        Self::PresentElsewhere,
        Self::MountPathInName,
        Self::NamespaceRelative,
        Self::Misspelt,
        Self::NotUnderSystemd,
        Self::UnitNotStarted,
        Self::NoSuchProcess,
        Self::Removed,
        Self::MovedAway,
        Self::MadeByAsker,
        Self::AfterAskerStarted,
        Self::HiddenFromAsker,
        Self::WatchExhausted,
        Self::OtherHostView,
        Self::UnknownBefore,
    ];

    /// The stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::PresentElsewhere => "present-elsewhere",
            Self::MountPathInName => "mount-path-in-name",
            Self::NamespaceRelative => "namespace-relative",
            Self::Misspelt => "misspelt",
            Self::NotUnderSystemd => "not-under-systemd",
            Self::UnitNotStarted => "unit-not-started",
            Self::NoSuchProcess => "no-such-process",
            Self::Removed => "removed",
            Self::MovedAway => "moved-away",
            Self::MadeByAsker => "made-by-asker",
            Self::AfterAskerStarted => "after-asker-started",
            Self::HiddenFromAsker => "hidden-from-asker",
            Self::WatchExhausted => "watch-exhausted",
            Self::OtherHostView => "other-host-view",
            Self::UnknownBefore => "unknown-before",
        }
    }
}

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

/// A cause with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The cause.
    pub cause: Cause,
    /// What happened, in a sentence or two.
    pub explanation: String,
    /// What is known that says so.
    pub evidence: Vec<String>,
    /// What to do about it: commands and settings, the likeliest first.
    pub fix: Vec<String>,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub weight: Weight,
    /// Whether it keeps the asker from seeing what is present.
    pub hides: bool,
    pub finding: Finding,
}

impl Found {
    pub fn new(weight: Weight, cause: Cause, explanation: impl Into<String>) -> Self {
        let finding =
            Finding { cause, explanation: explanation.into(), evidence: Vec::new(), fix: Vec::new() };
        Self { weight, hides: false, finding }
    }

    pub fn hiding(mut self) -> Self {
        self.hides = true;
        self
    }

    pub fn because(mut self, evidence: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.finding.evidence.extend(evidence.into_iter().map(Into::into));
        self
    }

    /// Advises what can be done with a path that may be used, or says why it is not advised.
    pub fn advise(mut self, usable: Result<String, String>, fix: impl FnOnce(&str) -> String) -> Self {
        match usable {
            Ok(path) => self.finding.fix.push(fix(&path)),
            Err(reason) => self.finding.evidence.push(reason),
        }
        self
    }

    pub fn mend(mut self, fix: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.finding.fix.extend(fix.into_iter().map(Into::into));
        self
    }
}

/// The answer to `why`: the cause that explains most, and the others that hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The name as it was asked.
    pub name: String,
    /// Whether it exists, under exactly that name, where it was asked for: on one hierarchy at least.
    pub present: bool,
    /// Whether it exists and nothing known keeps the asker from seeing it.
    pub seen: bool,
    /// What explains most.
    #[serde(flatten)]
    pub finding: Finding,
    /// What holds as well, in the same order.
    pub also: Vec<Finding>,
}

impl Verdict {
    /// What explains most.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        self.finding.cause
    }

    /// Whether a cause holds, first or not.
    #[must_use]
    pub fn holds(&self, cause: Cause) -> bool {
        self.cause() == cause || self.also.iter().any(|finding| finding.cause == cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_in_the_catalogue() {
        let catalogue = include_str!("../../../docs/why.md");
        for cause in Cause::ALL {
            let title = format!("\n### {}\n", cause.word());
            assert!(catalogue.contains(&title), "docs/why.md has no section on {}", cause.word());
        }
    }

    #[test]
    fn words_are_those_of_the_json() {
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{}\"", cause.word()));
        }
        assert!(Cause::ALL.is_sorted());
    }

    #[test]
    fn the_json_is_flat() {
        let finding = Found::new(Weight::Explains, Cause::Present, "x").because(["e"]).mend(["f"]).finding;
        let verdict = Verdict { name: "/".to_owned(), present: true, seen: true, finding, also: Vec::new() };
        let json = serde_json::to_string(&verdict).unwrap();
        let expected = r#"{"name":"/","present":true,"seen":true,"cause":"present","explanation":"x","evidence":["e"],"fix":["f"],"also":[]}"#;
        assert_eq!(json, expected);
    }
}
