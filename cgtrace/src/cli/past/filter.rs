//! Which stored events and cgroups a question selects. The rules are those of the daemon's subscriptions.

use std::{collections::BTreeSet, str::FromStr as _};

use anyhow::anyhow;
use cgtrace_client::{Error, wire};
use cgtrace_common::Kind;
use cgtrace_history::{KindSet, StoredCgroup, StoredEvent};
use cgtrace_paths::names_hierarchy;
use jiff::Timestamp;

use crate::{cli::failure::Failure, daemon::server::Patterns, stored::hierarchy_name};

/// A compiled selection.
pub struct Filter {
    patterns: Patterns,
    hierarchies: Vec<String>,
    kinds: Option<KindSet>,
    by: Option<By>,
    boot: Option<String>,
    /// A pattern that took too many steps.
    too_costly: bool,
}

/// Who caused an event.
enum By {
    Pid(u32),
    Comm(String),
}

impl Filter {
    /// Selects by patterns and hierarchies.
    pub fn new(patterns: Option<&[String]>, hierarchies: &[String]) -> Result<Self, Failure> {
        let mut compiled = Patterns::none();
        let texts = patterns.unwrap_or_default();
        for text in texts {
            compiled.add(text).map_err(|error| Failure::Usage(error.into()))?;
        }
        Ok(Self {
            patterns: if texts.is_empty() { Patterns::all() } else { compiled },
            hierarchies: hierarchies.to_vec(),
            kinds: None,
            by: None,
            boot: None,
            too_costly: false,
        })
    }

    /// Selects as a call of `Log` does, on one boot.
    pub fn of_log(log: &wire::Log, boot: Option<String>) -> Result<Self, Failure> {
        let mut filter = Self::new(log.patterns.as_deref(), log.hierarchies.as_deref().unwrap_or_default())?;
        filter.boot = boot;
        filter.by = log.by.as_deref().map(|by| match u32::from_str(by) {
            Ok(pid) => By::Pid(pid),
            Err(_) => By::Comm(by.to_owned()),
        });
        if let Some(names) = &log.kinds {
            let kind = |name: &String| {
                Kind::EVENTS.into_iter().find(|kind| kind.as_str() == name).ok_or_else(|| {
                    let known = Kind::EVENTS.map(|kind| kind.as_str().to_owned()).to_vec();
                    Failure::from(Error::UnknownKind { kind: name.clone(), known })
                })
            };
            filter.kinds = Some(names.iter().map(kind).collect::<Result<_, _>>()?);
        }
        Ok(filter)
    }

    pub fn kinds(&self) -> KindSet {
        self.kinds.unwrap_or(KindSet::ALL)
    }

    /// Whether an event is selected.
    pub fn selects_event(&mut self, event: &StoredEvent) -> bool {
        if self.boot.as_deref().is_some_and(|boot| boot != &*event.at.boot_id) || !self.is_by(event) {
            return false;
        }
        // Events about the record itself concern every path, unless kinds are selected.
        if matches!(event.kind, Kind::Lost | Kind::Resynced) && self.kinds.is_none() && self.by.is_none() {
            return true;
        }
        match (&event.cgroup, &event.from) {
            (Some(cgroup), from) if self.selects_hierarchy(cgroup) => {
                // A rename concerns both paths, a move both cgroups.
                self.selects_path(cgroup.path.as_deref())
                    || from.as_ref().is_some_and(|from| self.selects_path(from.path.as_deref()))
            }
            (Some(_), _) => false,
            (None, _) => true,
        }
    }

    fn is_by(&self, event: &StoredEvent) -> bool {
        let Some(by) = &self.by else { return true };
        let Some(task) = event.by.as_ref().map(|by| by.task) else { return false };
        match by {
            By::Pid(pid) => task.pid == *pid,
            By::Comm(comm) => crate::stored::comm(&task.comm) == *comm,
        }
    }

    /// Whether hierarchies are selected.
    pub fn has_hierarchies(&self) -> bool {
        !self.hierarchies.is_empty()
    }

    /// Whether a cgroup is on a selected hierarchy.
    pub fn selects_hierarchy(&self, cgroup: &StoredCgroup) -> bool {
        if self.hierarchies.is_empty() {
            return true;
        }
        let name = hierarchy_name(cgroup.hierarchy_name.as_deref(), cgroup.hierarchy);
        self.hierarchies.iter().any(|word| names_hierarchy(word, &name))
    }

    /// Whether a path is selected; `None` stands for an unknown one.
    pub fn selects_path(&mut self, path: Option<&[u8]>) -> bool {
        self.patterns.matches(path).unwrap_or_else(|_| {
            self.too_costly = true;
            false
        })
    }

    /// Fails if a path could not be matched, because the answer would then lack it.
    pub fn finish(&self) -> Result<(), Failure> {
        if self.too_costly {
            let reason = "it takes too many steps to match; use fewer `**`, or a plain path";
            return Err(Failure::Usage(anyhow!("a pattern is too costly: {reason}")));
        }
        Ok(())
    }

    /// Fails if a selected hierarchy is none of the known ones.
    pub fn check_hierarchies(&self, known: &BTreeSet<String>) -> Result<(), Failure> {
        let is_known = |word: &&String| known.iter().any(|name| names_hierarchy(word, name));
        match self.hierarchies.iter().find(|word| !is_known(word)) {
            Some(unknown) if !known.is_empty() => Err(Failure::from(Error::UnknownHierarchy {
                hierarchy: unknown.clone(),
                known: known.iter().cloned().collect(),
            })),
            _ => Ok(()),
        }
    }
}

/// A time of a call, in ns since 1970.
pub fn wall_ns(time: &str) -> Result<i64, Failure> {
    let parsed: Timestamp = time.parse().map_err(|_| {
        let expected = "one like 2026-11-30T13:00:00Z".to_owned();
        Failure::from(Error::InvalidTime { time: time.to_owned(), expected })
    })?;
    Ok(i64::try_from(parsed.as_nanosecond()).unwrap_or(i64::MAX))
}
