//! Gaps in words.

use std::fmt;

use super::{Gap, HierarchyResult, Timestamp};

impl fmt::Display for Gap {
    /// What happened: `9 records were lost`, `no cgtrace daemon ran`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |what: &str| match self.lost {
            Some(1) => format!("1 {what}"),
            Some(lost) => format!("{lost} {what}s"),
            None => format!("an unknown number of {what}s"),
        };
        let were = if self.lost == Some(1) { "was" } else { "were" };
        match self.reason.as_str() {
            "lost" => write!(f, "{} {were} lost", some("record")),
            "stopped" => f.write_str("no cgtrace daemon ran"),
            "killed" => f.write_str("the cgtrace daemon was killed; its last second is missing, too"),
            "queue" => write!(f, "{} came faster than they could be stored", some("event")),
            "disk" => write!(f, "{} could not be written", some("event")),
            "broken" => f.write_str("a segment of the history is damaged"),
            "quota" => write!(
                f,
                "{} of uid {} {were} not stored, because they exceeded that user's share",
                some("event"),
                self.uid.unwrap_or_default()
            ),
            "retention" => f.write_str("older events were removed from the history"),
            "kinds" => write!(f, "{} of kinds that are not stored", some("event")),
            other => write!(f, "{}: {other}", some("missing event")),
        }
    }
}

impl HierarchyResult {
    /// From when on the record is complete for the path in question. Nothing is claimed about the time before.
    ///
    /// ```
    /// use cgtrace_client::wire::{HierarchyResult, Timestamp};
    /// let result = HierarchyResult::default();
    /// assert_eq!(result.horizon(), &Timestamp::default());
    /// ```
    #[must_use]
    pub fn horizon(&self) -> &Timestamp {
        self.complete_since.as_ref().unwrap_or(&self.observed_since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(reason: &str, lost: Option<u64>) -> String {
        Gap { reason: reason.to_owned(), lost, ..Gap::default() }.to_string()
    }

    #[test]
    fn a_gap_is_one_clause() {
        assert_eq!(words("lost", Some(9)), "9 records were lost");
        assert_eq!(words("lost", Some(1)), "1 record was lost");
        assert_eq!(words("disk", None), "an unknown number of events could not be written");
        assert_eq!(words("future", Some(2)), "2 missing events: future");
    }
}
