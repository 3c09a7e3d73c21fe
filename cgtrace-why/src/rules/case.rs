//! A question with what every rule asks of it.

use cgtrace_client::wire::{Event, HierarchyResult, PathResult};
use cgtrace_paths::{MountPoint, ParsedPath, Spelling, Variant};

use super::wording;
use crate::facts::{Facts, Mounted, Observer, Process, Unit};

/// The facts, and the path that they are about.
pub(super) struct Case<'a> {
    pub facts: &'a Facts,
    /// The path as asked.
    pub asked: ParsedPath,
    /// How else it may have been meant.
    pub variants: Vec<Variant>,
    /// The path that the rules look at: the asked one or, if nothing is known of that, what is left of it without a
    /// mount path.
    pub subject: &'a PathResult,
    /// The subject's path.
    pub name: String,
    /// What the subject's path says.
    pub parsed: ParsedPath,
    /// Whether the subject is another path than the asked one.
    pub is_corrected: bool,
}

impl<'a> Case<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        let given = facts.name.as_bytes();
        let asked = cgtrace_paths::parse_at(given, &mount_points(&facts.mounts));
        let variants = cgtrace_paths::spellings(&asked, given);
        let is_plain = |variant: &&Variant| {
            use Spelling::{Deleted, Directory, MountPath, Upwards};
            matches!(variant.spelling, MountPath | Directory | Upwards | Deleted)
        };
        let left = || variants.iter().filter(is_plain).filter_map(|variant| answer_of(facts, &variant.path));
        // The one of which something is known, else the most thorough.
        let corrected = left().find(|answer| is_known(answer)).or_else(|| left().next());
        let corrected = corrected.filter(|_| !is_known(&facts.answer));
        let name = corrected.map_or(&facts.name, |answer| &answer.path).clone();
        let parsed = cgtrace_paths::parse(name.as_bytes());
        let (subject, is_corrected) = (corrected.unwrap_or(&facts.answer), corrected.is_some());
        Self { facts, asked, variants, subject, name, parsed, is_corrected }
    }

    /// Whether the asked path exists where it was asked for.
    pub fn asked_present(&self) -> bool {
        self.rows_asked(&self.facts.answer).any(|row| row.present)
    }

    /// Whether the subject exists where it was asked for.
    pub fn is_present(&self) -> bool {
        self.results().any(|row| row.present)
    }

    /// Whether the subject exists on any hierarchy.
    pub fn is_anywhere(&self) -> bool {
        self.subject.hierarchies.iter().any(|row| row.present)
    }

    /// The subject's rows where it was asked for.
    pub fn results(&self) -> impl Iterator<Item = &'a HierarchyResult> {
        self.rows_asked(self.subject)
    }

    fn rows_asked(&self, answer: &'a PathResult) -> impl Iterator<Item = &'a HierarchyResult> {
        let on = self.facts.on.as_deref();
        let asked = move |row: &&HierarchyResult| {
            on.is_none_or(|on| cgtrace_paths::names_hierarchy(on, &row.hierarchy))
        };
        answer.hierarchies.iter().filter(asked)
    }

    /// The observer of a subject that exists.
    pub fn observer_of_present(&self) -> Option<&'a Observer> {
        self.facts.observer.as_ref().filter(|_| self.is_present())
    }

    /// Whether there is a process in the subject or below it, on the hierarchy of that row; `None` if not known.
    pub fn is_populated(&self, row: &HierarchyResult) -> Option<bool> {
        let key = (self.subject.path.clone(), row.hierarchy.clone());
        self.facts.populated.get(&key).copied()
    }

    /// A path that may be used, in quotes; if it may not, why.
    pub fn usable(&self, path: &str) -> Result<String, String> {
        let quoted = wording::quoted(path);
        match self.facts.writable.get(path) {
            Some(by) => Err(format!("{quoted} is not advised: {by}")),
            None => Ok(quoted),
        }
    }

    /// Whether an ended instance of the subject is known.
    pub fn has_past(&self) -> bool {
        self.results().any(|row| !row.previous.is_empty())
    }

    /// What is known of another path.
    pub fn other(&self, path: &[u8]) -> Option<&'a PathResult> {
        answer_of(self.facts, path)
    }

    /// The unit, if the service manager knows one.
    pub fn unit(&self) -> Option<&'a Unit> {
        self.facts.unit.as_ref().filter(|unit| unit.load_state != "not-found")
    }

    /// The unit's name: as the service manager has it, or as the path says.
    pub fn unit_name(&self) -> Option<&str> {
        self.unit().map(|unit| unit.id.as_str()).filter(|id| !id.is_empty()).or(self.parsed.unit.as_deref())
    }

    /// Whether a process is in the subject or below it.
    pub fn holds(&self, process: &Process) -> bool {
        process.cgroups.iter().any(|place| is_below(&place.path, &self.name))
    }

    /// The processes that the path would be of, and that are not in it.
    pub fn outside(&self) -> impl Iterator<Item = &'a Process> {
        let processes = self.facts.processes.iter().flatten();
        processes.filter(|process| process.of_unit && !process.cgroups.is_empty() && !self.holds(process))
    }

    /// Whether a process was put into the subject or below it.
    pub fn enters(&self, event: &Event) -> bool {
        event.path.as_deref().is_some_and(|path| is_below(path, &self.name))
    }

    /// Whether a process was taken out of the subject, or moved within it.
    pub fn left_by(&self, event: &Event) -> bool {
        let from = event.from.as_ref().and_then(|place| place.path.as_deref());
        from.is_some_and(|from| is_below(from, &self.name))
    }

    /// The last move out of the subject of a process that did not come back.
    pub fn moved_away(&self) -> Option<&'a Event> {
        let moves = &self.facts.moves;
        moves.iter().enumerate().rev().find_map(|(at, event)| {
            let pid = event.task.as_ref()?.pid;
            let back = moves.iter().skip(at + 1).any(|later| {
                later.hierarchy == event.hierarchy
                    && self.enters(later)
                    && later.task.as_ref().is_some_and(|task| task.pid == pid)
            });
            let out = self.left_by(event) && !self.enters(event) && event.kind != "fork";
            (out && !back).then_some(event)
        })
    }
}

/// Whether a path exists, or did.
pub(super) fn is_known(answer: &PathResult) -> bool {
    exists(answer) || answer.hierarchies.iter().any(|row| !row.previous.is_empty())
}

/// Whether a path exists.
pub(super) fn exists(answer: &PathResult) -> bool {
    answer.present || answer.hierarchies.iter().any(|row| row.present)
}

/// Whether a path is that cgroup or stands below it.
pub(super) fn is_below(path: &str, cgroup: &str) -> bool {
    cgtrace_paths::is_within(path.as_bytes(), cgroup.as_bytes())
}

/// Mount points, for the parser of paths.
pub(crate) fn mount_points(mounts: &[Mounted]) -> Vec<MountPoint> {
    let point = |mount: &Mounted| MountPoint {
        point: mount.point.clone().into_bytes(),
        hierarchy: Some(mount.hierarchy.clone()),
    };
    mounts.iter().map(point).collect()
}

fn answer_of<'a>(facts: &'a Facts, path: &[u8]) -> Option<&'a PathResult> {
    facts.others.iter().find(|answer| answer.path.as_bytes() == path)
}
