//! A question with what every rule asks of it.

use cgtrace_client::wire::{Answer, Event, Row};

use super::{
    facts::{Facts, Mounted, Process, Unit, Writable},
    tell,
};
use cgtrace_paths::{MountPoint, Name, Spelling, Variant};

/// The facts, and the name that they are about.
pub(super) struct Case<'a> {
    pub facts: &'a Facts,
    /// The name as asked.
    pub asked: Name,
    /// How else it may have been meant.
    pub variants: Vec<Variant>,
    /// The name that the rules look at: the asked one or, if nothing is known of that, what is left of it
    /// without a mount path.
    pub subject: &'a Answer,
    /// The subject's name.
    pub name: String,
    /// What the subject's name says.
    pub parsed: Name,
}

impl<'a> Case<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        let given = facts.name.as_bytes();
        let asked = cgtrace_paths::parse_at(given, &mount_points(&facts.mounts));
        let variants = cgtrace_paths::spellings(&asked, given);
        let corrected = (!is_known(&facts.answer))
            .then(|| {
                let plain = variants.iter().filter(|variant| {
                    matches!(
                        variant.spelling,
                        Spelling::MountPath | Spelling::Directory | Spelling::Upwards | Spelling::Deleted
                    )
                });
                // The one of which something is known, else the most thorough.
                let mut found = plain.filter_map(|variant| answer_of(facts, &variant.path)).peekable();
                let first = found.peek().copied();
                found.find(|answer| is_known(answer)).or(first)
            })
            .flatten();
        let subject = corrected.unwrap_or(&facts.answer);
        let name = corrected.map_or_else(|| facts.name.clone(), |answer| answer.name.clone());
        let parsed = cgtrace_paths::parse(name.as_bytes());
        Self { facts, asked, variants, subject, name, parsed }
    }

    /// Whether the subject is another name than the asked one.
    pub fn is_corrected(&self) -> bool {
        !std::ptr::eq(self.subject, &raw const self.facts.answer)
    }

    /// Whether the asked name exists where it was asked for.
    pub fn asked_present(&self) -> bool {
        self.rows_asked(&self.facts.answer).any(|row| row.present)
    }

    /// Whether the subject exists where it was asked for.
    pub fn is_present(&self) -> bool {
        self.rows().any(|row| row.present)
    }

    /// Whether the subject exists on any hierarchy.
    pub fn is_anywhere(&self) -> bool {
        self.subject.rows.iter().any(|row| row.present)
    }

    /// The subject's rows where it was asked for.
    pub fn rows(&self) -> impl Iterator<Item = &'a Row> {
        self.rows_asked(self.subject)
    }

    fn rows_asked(&self, answer: &'a Answer) -> impl Iterator<Item = &'a Row> {
        let on = self.facts.on.as_deref();
        answer
            .rows
            .iter()
            .filter(move |row| on.is_none_or(|on| cgtrace_paths::names_hierarchy(on, &row.hierarchy)))
    }

    /// Whether there is a process in the subject or below it, on the hierarchy of that row; `None` if not known.
    pub fn is_populated(&self, row: &Row) -> Option<bool> {
        let known = self.facts.populated.iter();
        let mut known =
            known.filter(|known| known.path == self.subject.name && known.hierarchy == row.hierarchy);
        known.next().map(|known| known.populated)
    }

    /// A path that may be used, in quotes; if it may not, why.
    pub fn usable(&self, path: &str) -> Result<String, String> {
        let quoted = tell::quoted(path);
        match self.facts.writable.iter().find(|writable| writable.path == path) {
            Some(Writable { by, .. }) => Err(format!("{quoted} is not advised: {by}")),
            None => Ok(quoted),
        }
    }

    /// Whether an ended life of the subject is known.
    pub fn has_past(&self) -> bool {
        self.rows().any(|row| !row.past.is_empty())
    }

    /// What is known of another name.
    pub fn other(&self, path: &[u8]) -> Option<&'a Answer> {
        answer_of(self.facts, path)
    }

    /// The unit, if the service manager knows one.
    pub fn unit(&self) -> Option<&'a Unit> {
        self.facts.unit.as_ref().filter(|unit| unit.load_state != "not-found")
    }

    /// The unit's name: as the service manager has it, or as the name says.
    pub fn unit_name(&self) -> Option<&str> {
        self.unit().map(|unit| unit.id.as_str()).filter(|id| !id.is_empty()).or(self.parsed.unit.as_deref())
    }

    /// Processes that are called as the path's would be, and are none of its unit's.
    pub fn strangers(&self) -> impl Iterator<Item = &'a Process> {
        self.facts.processes.iter().flatten().filter(|process| !process.of_unit)
    }

    /// The processes that the path would be of, and that are not in it.
    pub fn outside(&self) -> impl Iterator<Item = &'a Process> {
        let processes = self.facts.processes.as_deref().unwrap_or_default();
        processes.iter().filter(|process| {
            process.of_unit
                && !process.cgroups.is_empty()
                && !process.cgroups.iter().any(|place| is_below(&place.path, &self.name))
        })
    }

    /// The last move out of the subject of a process that did not come back.
    pub fn moved_away(&self) -> Option<&'a Event> {
        let path = |event: &Event| event.path.as_deref().is_some_and(|path| is_below(path, &self.name));
        let out = |event: &Event| {
            let from = event.from.as_ref().and_then(|place| place.path.as_deref());
            from.is_some_and(|from| is_below(from, &self.name)) && !path(event) && event.kind != "fork"
        };
        let moves = &self.facts.moves;
        moves.iter().enumerate().rev().find_map(|(at, event)| {
            let pid = event.task.as_ref()?.pid;
            let later = moves.get(at + 1..).unwrap_or_default();
            let back = later.iter().any(|later| {
                later.hierarchy == event.hierarchy
                    && path(later)
                    && later.task.as_ref().is_some_and(|task| task.pid == pid)
            });
            (out(event) && !back).then_some(event)
        })
    }
}

/// Whether a name exists, or did.
pub(super) fn is_known(answer: &Answer) -> bool {
    answer.present || answer.rows.iter().any(|row| row.present || !row.past.is_empty())
}

/// Whether a name exists.
pub(super) fn exists(answer: &Answer) -> bool {
    answer.present || answer.rows.iter().any(|row| row.present)
}

/// Whether a path is that cgroup or stands below it.
pub(super) fn is_below(path: &str, cgroup: &str) -> bool {
    cgtrace_paths::is_within(path.as_bytes(), cgroup.as_bytes())
}

/// Mount points as the parser of names takes them.
pub(crate) fn mount_points(mounts: &[Mounted]) -> Vec<MountPoint> {
    let point = |mount: &Mounted| MountPoint {
        point: mount.point.clone().into_bytes(),
        hierarchy: Some(mount.hierarchy.clone()),
    };
    mounts.iter().map(point).collect()
}

fn answer_of<'a>(facts: &'a Facts, path: &[u8]) -> Option<&'a Answer> {
    facts.others.iter().find(|answer| answer.name.as_bytes() == path)
}
