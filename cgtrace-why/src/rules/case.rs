//! The facts, with the derived data that every rule needs.

use cgtrace_client::wire::{Event, HierarchyResult, PathResult};
use cgtrace_paths::{MountPoint, ParsedPath, Spelling, Variant};

use super::{kubelet::Settings, observer::is_kubelet, session::is_session, wording};
use crate::facts::{CgroupMount, Facts, Observer, Process, Unit};

/// The facts, and the path that the rules examine.
pub(super) struct Case<'a> {
    pub facts: &'a Facts,
    /// The path as given, parsed.
    pub given: ParsedPath,
    /// Other spellings of the given path.
    pub variants: Vec<Variant>,
    /// The result that the rules examine: the given path's or, if nothing is known of it, that of the path
    /// without a mount point.
    pub subject: &'a PathResult,
    /// The subject's path.
    pub path: String,
    /// The subject's path, parsed.
    pub parsed: ParsedPath,
    /// Whether the subject differs from the given path.
    pub is_corrected: bool,
}

impl<'a> Case<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        let text = facts.path.as_bytes();
        let given = cgtrace_paths::parse_at(text, &mount_points(&facts.mounts));
        let variants = cgtrace_paths::spellings(&given, text);
        let is_stripped = |variant: &&Variant| {
            use Spelling::{Deleted, Directory, MountPath, Upwards};
            matches!(variant.spelling, MountPath | Directory | Upwards | Deleted)
        };
        let stripped =
            || variants.iter().filter(is_stripped).filter_map(|variant| result_for(facts, &variant.path));
        // A path of which something is known, or else the one with the most removed.
        let corrected = stripped().find(|result| is_known(result)).or_else(|| stripped().next());
        let corrected = corrected.filter(|_| !is_known(&facts.result));
        let path = corrected.map_or(&facts.path, |result| &result.path).clone();
        let parsed = cgtrace_paths::parse(path.as_bytes());
        let (subject, is_corrected) = (corrected.unwrap_or(&facts.result), corrected.is_some());
        Self { facts, given, variants, subject, path, parsed, is_corrected }
    }

    /// Whether the given path exists on a hierarchy in question.
    pub fn given_exists(&self) -> bool {
        self.in_question(&self.facts.result).any(|result| result.present)
    }

    /// Whether the subject exists on a hierarchy in question.
    pub fn is_present(&self) -> bool {
        self.results().any(|result| result.present)
    }

    /// Whether the subject exists on any hierarchy.
    pub fn is_anywhere(&self) -> bool {
        self.subject.hierarchies.iter().any(|result| result.present)
    }

    /// The subject's results on the hierarchies in question.
    pub fn results(&self) -> impl Iterator<Item = &'a HierarchyResult> {
        self.in_question(self.subject)
    }

    fn in_question(&self, path_result: &'a PathResult) -> impl Iterator<Item = &'a HierarchyResult> {
        let hierarchy = self.facts.hierarchy.as_deref();
        let matches = move |result: &&HierarchyResult| {
            hierarchy.is_none_or(|name| cgtrace_paths::names_hierarchy(name, &result.hierarchy))
        };
        path_result.hierarchies.iter().filter(matches)
    }

    /// The observer, if the subject exists.
    pub fn observer_of_present(&self) -> Option<&'a Observer> {
        self.facts.observer.as_ref().filter(|_| self.is_present())
    }

    /// The settings of the observer, or those of the kubelet that is not running.
    pub fn settings(&self) -> Option<&'a Settings> {
        self.facts.observer.as_ref().map(|observer| &observer.settings).or(self.facts.kubelet.as_ref())
    }

    /// The settings of the kubelet, if that is the observer.
    pub fn kubelet_settings(&self) -> Option<&'a Settings> {
        self.settings().filter(|_| self.facts.observer.as_ref().is_none_or(is_kubelet))
    }

    /// Whether the observer's machine, or ours, uses only cgroup v2, as kubelet decides it; `None` if not known.
    pub fn is_unified(&self) -> Option<bool> {
        let observer = self.facts.observer.as_ref();
        let mounts = observer.and_then(|observer| observer.mounts.as_ref()).unwrap_or(&self.facts.mounts);
        let is_v2 = |mount: &CgroupMount| mount.point == "/sys/fs/cgroup" && mount.hierarchy == "v2";
        (!mounts.is_empty()).then(|| mounts.iter().any(is_v2))
    }

    /// Whether the subject or a descendant contains a process on that result's hierarchy; `None` if not
    /// known.
    pub fn is_populated(&self, result: &HierarchyResult) -> Option<bool> {
        let key = (self.subject.path.clone(), result.hierarchy.clone());
        self.facts.populated.get(&key).copied()
    }

    /// A path in quotes, or the reason why it is not safe to use.
    pub fn usable(&self, path: &str) -> Result<String, String> {
        let quoted = wording::quoted(path);
        match self.facts.writable.get(path) {
            Some(reason) => Err(format!("{quoted} is not suggested: {reason}")),
            None => Ok(quoted),
        }
    }

    /// Whether a previous instance of the subject is known.
    pub fn has_previous(&self) -> bool {
        self.results().any(|result| !result.previous.is_empty())
    }

    /// The result for another path.
    pub fn other(&self, path: &[u8]) -> Option<&'a PathResult> {
        result_for(self.facts, path)
    }

    /// The unit, if the service manager knows it.
    pub fn unit(&self) -> Option<&'a Unit> {
        self.facts.unit.as_ref().filter(|unit| unit.load_state != "not-found")
    }

    /// The unit, if the service manager can start it.
    pub fn startable_unit(&self) -> Option<&'a Unit> {
        self.unit().filter(|unit| unit.load_state == "loaded" && !self.facts.no_service_manager)
    }

    /// The unit or slice that the service manager runs in the subject, so that its properties can be set. A login
    /// session's scope and the service manager's own are not configured.
    pub fn live_unit(&self) -> Option<&'a Unit> {
        let is_live = |unit: &&Unit| {
            matches!(unit.active_state.as_str(), "active" | "activating" | "reloading" | "refreshing")
                && unit.load_state == "loaded"
                && unit.control_group == self.path
                && unit.id != "init.scope"
                && !is_session(&unit.id)
        };
        let units = self.facts.unit.iter().chain(&self.facts.slice);
        units.filter(|_| !self.facts.no_service_manager).find(is_live)
    }

    /// The unit's name, from the service manager or else from the path.
    pub fn unit_name(&self) -> Option<&str> {
        self.unit().map(|unit| unit.id.as_str()).filter(|id| !id.is_empty()).or(self.parsed.unit.as_deref())
    }

    /// Whether a process is in the subject or a descendant.
    pub fn contains(&self, process: &Process) -> bool {
        process.cgroups.iter().any(|cgroup| is_below(&cgroup.path, &self.path))
    }

    /// The unit's processes that are in other cgroups.
    pub fn outside(&self) -> impl Iterator<Item = &'a Process> {
        let processes = self.facts.processes.iter().flatten();
        processes.filter(|process| process.of_unit && !process.cgroups.is_empty() && !self.contains(process))
    }

    /// Whether an event moved a process into the subject or a descendant.
    pub fn is_entry(&self, event: &Event) -> bool {
        event.path.as_deref().is_some_and(|path| is_below(path, &self.path))
    }

    /// Whether an event moved a process that was in the subject or a descendant.
    pub fn is_exit(&self, event: &Event) -> bool {
        let from = event.from.as_ref().and_then(|cgroup| cgroup.path.as_deref());
        from.is_some_and(|from| is_below(from, &self.path))
    }

    /// The recorded moves on the hierarchies in question, the oldest first.
    pub fn moves(&self) -> impl DoubleEndedIterator<Item = &'a Event> {
        let hierarchy = self.facts.hierarchy.as_deref();
        let matches = move |event: &&Event| match (hierarchy, &event.hierarchy) {
            (None, _) => true,
            (Some(name), Some(on)) => cgtrace_paths::names_hierarchy(name, on),
            (Some(_), None) => false,
        };
        self.facts.moves.iter().filter(matches)
    }

    /// The events that moved a process out of the subject for good, the oldest first: one for each process and
    /// hierarchy.
    pub fn departures(&self) -> Vec<&'a Event> {
        let mut last: Vec<&Event> = Vec::new();
        let pid = |event: &Event| event.task.as_ref().map(|task| task.pid);
        for event in self.moves().filter(|event| event.task.is_some()) {
            let (enters, leaves) = (self.is_entry(event), self.is_exit(event) && event.kind != "fork");
            if enters || leaves {
                last.retain(|other| pid(other) != pid(event) || other.hierarchy != event.hierarchy);
            }
            if leaves && !enters {
                last.push(event);
            }
        }
        last
    }

    /// The last event that moved a process out of the subject for good.
    pub fn moved_away(&self) -> Option<&'a Event> {
        self.departures().pop()
    }
}

/// Whether a path exists or has existed.
pub(super) fn is_known(path_result: &PathResult) -> bool {
    exists(path_result) || path_result.hierarchies.iter().any(|result| !result.previous.is_empty())
}

/// Whether a path exists.
pub(super) fn exists(path_result: &PathResult) -> bool {
    path_result.present || path_result.hierarchies.iter().any(|result| result.present)
}

/// Whether a path is that of the cgroup or of a descendant.
pub(super) fn is_below(path: &str, cgroup: &str) -> bool {
    cgtrace_paths::is_within(path.as_bytes(), cgroup.as_bytes())
}

/// The mounts in the path parser's form.
pub(crate) fn mount_points(mounts: &[CgroupMount]) -> Vec<MountPoint> {
    let point = |mount: &CgroupMount| MountPoint {
        point: mount.point.clone().into_bytes(),
        hierarchy: Some(mount.hierarchy.clone()),
    };
    mounts.iter().map(point).collect()
}

fn result_for<'a>(facts: &'a Facts, path: &[u8]) -> Option<&'a PathResult> {
    facts.others.iter().find(|result| result.path.as_bytes() == path)
}
