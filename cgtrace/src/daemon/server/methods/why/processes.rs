//! Processes as the rules and the wire have them: what /proc shows now, with what was seen of them before.

use cgtrace_client::{names, wire};

use crate::daemon::{
    index::{HierarchyId, Task},
    server::{
        access::Access,
        encode::{Encoder, hierarchy_name},
        shared::Shared,
    },
    sightings::{How, Sighting},
    tracker::task_of,
};
use cgtrace_host::{hierarchy::HierarchyLine, process};
use cgtrace_why::{
    gather::AskerFound,
    rules::{self as why, Membership, Seen},
};

/// So many processes that have ended are told of.
const ENDED: usize = 4;

/// What telling of processes needs.
pub(super) struct Context<'a> {
    pub shared: &'a Shared,
    pub encoder: Encoder,
    pub access: Access,
}

impl Context<'_> {
    /// The live processes that this client may be told of. If only others were found, nobody is said to have looked:
    /// that there is none would be wrong.
    pub fn live(&self, found: Option<Vec<process::Found>>) -> Option<Vec<why::Process>> {
        let found = found?;
        let none = found.is_empty();
        let told: Vec<why::Process> = found
            .iter()
            .filter(|found| self.access.covers_uid(found.process.uid))
            .map(|found| self.process(found))
            .collect();
        (none || !told.is_empty()).then_some(told)
    }

    /// The asker.
    pub fn asker(&self, asker: &AskerFound) -> why::Asker {
        why::Asker {
            process: self.process(&asker.found),
            arguments: asker.arguments.clone(),
            config: asker.config.clone(),
            namespace_root: asker.namespace_root.clone(),
            mounts: asker.mounts.clone(),
            inotify: asker.inotify,
        }
    }

    /// A live process.
    pub fn process(&self, found: &process::Found) -> why::Process {
        let tracker = self.shared.tracker.borrow();
        let task = task_of(&found.process);
        let sighting = tracker.sightings().of_process(task.pid, task.start_boot_ns);
        let cgroups = self.places(&found.cgroups);
        let home = home(&cgroups);
        // The chain at the exec, if that was seen: a shell that has gone since is in it.
        let ancestors = match sighting.filter(|seen| !seen.ancestors.is_empty()) {
            Some(seen) => self.ancestors(seen),
            None => found.ancestors.iter().filter_map(|process| self.task(&task_of(process), None)).collect(),
        };
        let before = tracker.started_boot_ns() > task.start_boot_ns;
        why::Process {
            task: wire::Task {
                pid: task.pid,
                tid: task.tid,
                ppid: Some(task.ppid),
                comm: names::as_text(&found.process.comm).0,
                uid: Some(task.uid),
                start_boot_ns: Some(task.start_boot_ns),
                cgroup: home,
                threadgroup: None,
            },
            started: self.encoder.moment(task.start_boot_ns),
            seen: match sighting.filter(|seen| seen.how == How::Executed) {
                Some(seen) => Seen::Executed(self.encoder.moment(seen.boot_ns)),
                None if before => Seen::Before,
                None => Seen::Found,
            },
            cgroups,
            executed_in: sighting
                .filter(|seen| seen.how == How::Executed)
                .map(|seen| self.memberships(seen))
                .unwrap_or_default(),
            ancestors,
        }
    }

    /// The processes of those comms that were seen and are not among the live ones, the last one first.
    pub fn ended(&self, comms: &[Vec<u8>], live: &[why::Process]) -> Vec<why::Process> {
        let tracker = self.shared.tracker.borrow();
        let comms = comms.iter().map(|comm| process::padded_comm(comm));
        let seen = comms.collect::<Vec<_>>();
        let mut seen: Vec<&Sighting> = seen
            .iter()
            .flat_map(|comm| tracker.sightings().of_comm(comm))
            .filter(|seen| self.access.covers(&seen.task))
            .filter(|seen| !live.iter().any(|process| process.task.pid == seen.task.pid))
            .collect();
        seen.sort_by_key(|seen| std::cmp::Reverse(seen.boot_ns));
        seen.into_iter().take(ENDED).filter_map(|seen| self.past(seen)).collect()
    }

    fn past(&self, seen: &Sighting) -> Option<why::Process> {
        let cgroups = self.memberships(seen);
        let at = self.encoder.moment(seen.boot_ns);
        Some(why::Process {
            task: wire::Task { cgroup: home(&cgroups), ..self.task(&seen.task, None)? },
            started: self.encoder.moment(seen.task.start_boot_ns),
            seen: if seen.how == How::Executed { Seen::Executed(at) } else { Seen::Before },
            executed_in: if seen.how == How::Executed { cgroups.clone() } else { Vec::new() },
            cgroups,
            ancestors: self.ancestors(seen),
        })
    }

    fn ancestors(&self, seen: &Sighting) -> Vec<wire::Task> {
        seen.ancestors.iter().filter_map(|above| self.task(&above.task, above.cgroup.as_deref())).collect()
    }

    fn task(&self, task: &Task, cgroup: Option<&[u8]>) -> Option<wire::Task> {
        self.encoder.task(task, cgroup)
    }

    fn memberships(&self, seen: &Sighting) -> Vec<Membership> {
        let places = seen.memberships.iter().filter_map(|(id, path)| {
            Some(Membership { hierarchy: self.hierarchy(*id), path: names::as_text(path.as_deref()?).0 })
        });
        let mut places: Vec<Membership> = places.collect();
        places.sort_by(|one, other| one.hierarchy.cmp(&other.hierarchy));
        places
    }

    fn places(&self, lines: &[HierarchyLine]) -> Vec<Membership> {
        let places = lines.iter().map(|line| {
            let hierarchy = self.hierarchy(HierarchyId(line.id));
            Membership { hierarchy, path: names::as_text(&line.path).0 }
        });
        let mut places: Vec<Membership> = places.collect();
        places.sort_by(|one, other| one.hierarchy.cmp(&other.hierarchy));
        places
    }

    fn hierarchy(&self, id: HierarchyId) -> String {
        let tracker = self.shared.tracker.borrow();
        let state = tracker.index().hierarchy(id);
        state.map_or_else(|| format!("hierarchy-{}", id.0), |state| hierarchy_name(&state))
    }
}

/// The one cgroup that stands for a process: the service manager's, else the default hierarchy's.
fn home(cgroups: &[Membership]) -> Option<String> {
    let on = |name: &str| cgroups.iter().find(|place| place.hierarchy == name);
    on("name=systemd").filter(|place| place.path != "/").or_else(|| on("v2")).map(|place| place.path.clone())
}

/// A process as the wire has it.
pub(super) fn told(process: why::Process, ended: bool) -> wire::Process {
    let why::Process { task, started, seen, cgroups, executed_in, ancestors } = process;
    let places = |places: Vec<Membership>| {
        let place = |Membership { hierarchy, path }| wire::Membership { hierarchy, path };
        places.into_iter().map(place).collect()
    };
    wire::Process {
        task,
        started,
        before: seen == Seen::Before,
        executed: if let Seen::Executed(at) = seen { Some(at) } else { None },
        ended,
        cgroups: places(cgroups),
        executed_in: places(executed_in),
        ancestors,
    }
}
