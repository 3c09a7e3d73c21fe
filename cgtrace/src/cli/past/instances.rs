//! Cgroups and their instances in a folder, as of its end or of a time.

use std::collections::{BTreeMap, HashMap};

use anyhow::anyhow;
use cgtrace_client::{paths, wire};
use cgtrace_common::{CgroupId, HierarchyId};
use cgtrace_history::{At, End, Hierarchies, RemovedPage, RemovedQuery, StateAt, StoredInstance};

use super::{
    filter::{Filter, wall_ns},
    folder::{ENCODER, Folder, failure},
};
use crate::{
    cli::{failure::Failure, text},
    stored::{PathOwner, StoredEncoder, path},
};

/// How many previous instances of a path are shown, as by the daemon.
const MAX_PREVIOUS: usize = 8;

/// How many previous instances are read, to find those before a time.
const MAX_PREVIOUS_READ: usize = 65_536;

/// How many rows of removed cgroups are read at once.
const MAX_ROWS: usize = 65_536;

/// The cgroups that existed at a time.
struct Existing {
    instances: Vec<StoredInstance>,
    incomplete_for: Vec<u32>,
}

impl Folder {
    pub fn list(&mut self, list: &wire::List) -> Result<wire::ListReply, Failure> {
        let mut filter = Filter::new(list.patterns.as_deref(), list.hierarchy.as_slice())?;
        self.check_hierarchies(&filter)?;
        let Existing { mut instances, incomplete_for } =
            self.existing(list.at.as_deref(), At::Below(b"/"))?;
        // Parents before children, and a cgroup's descendants before its next sibling.
        let components = |instance: &StoredInstance| {
            let path = instance.cgroup.path.clone().unwrap_or_default();
            let path = path.strip_prefix(b"/").unwrap_or(&path).to_vec();
            path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        instances.sort_by_cached_key(|instance| (instance.cgroup.hierarchy, components(instance)));
        let ids: HashMap<(HierarchyId, &[u8]), u64> = instances
            .iter()
            .filter_map(|instance| {
                let cgroup = &instance.cgroup;
                Some(((cgroup.hierarchy, cgroup.path.as_deref()?), cgroup.id.0))
            })
            .collect();
        let mut cgroups = Vec::new();
        for instance in &instances {
            let cgroup = &instance.cgroup;
            if filter.selects_hierarchy(cgroup) && filter.selects_path(cgroup.path.as_deref()) {
                let parent = cgroup.path.as_deref().and_then(parent);
                let parent_id = parent.and_then(|parent| ids.get(&(cgroup.hierarchy, parent)).copied());
                cgroups.push(ENCODER.cgroup(instance, parent_id));
            }
        }
        filter.finish()?;
        let incomplete_for: Vec<u64> = incomplete_for.into_iter().map(Into::into).collect();
        let incomplete_for = (!incomplete_for.is_empty()).then_some(incomplete_for);
        Ok(wire::ListReply { seq: self.last_seq()?, cgroups, incomplete_for })
    }

    pub fn removed(&mut self, removed: &wire::Removed) -> Result<wire::RemovedReply, Failure> {
        let mut filter = Filter::new(removed.patterns.as_deref(), removed.hierarchy.as_slice())?;
        self.check_hierarchies(&filter)?;
        let since = removed.since.as_deref().map_or(Ok(i64::MIN), wall_ns)?;
        let until = removed.until.as_deref().map_or(Ok(i64::MAX), wall_ns)?;
        let max = removed.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        let mut query = RemovedQuery {
            since_wall_ns: since,
            until_wall_ns: until,
            max_rows: MAX_ROWS,
            ..RemovedQuery::default()
        };
        let (mut instances, path) = (Vec::new(), self.path.clone());
        let mut reader = self.archive.reader();
        while instances.len() < max {
            let page = reader.removed(&query, &mut |path| filter.selects_path(path));
            let RemovedPage { instances: of_page, next } = page.map_err(|error| failure(&path, error))?;
            let selected = |instance: &StoredInstance| filter.selects_hierarchy(&instance.cgroup);
            instances.extend(of_page.into_iter().filter(selected));
            query.after = next;
            if next.is_none() {
                break;
            }
        }
        filter.finish()?;
        instances.truncate(max);
        Ok(wire::RemovedReply {
            seq: self.last_seq()?,
            removed: instances.iter().map(|instance| ENCODER.removed(instance)).collect(),
            complete_since: self.complete_since()?,
        })
    }

    /// Looks up paths and ids: one result per path, then one per path that an id had.
    pub fn lookup(&mut self, lookup: &wire::Lookup) -> Result<wire::LookupReply, Failure> {
        let filter = Filter::new(None, lookup.hierarchy.as_slice())?;
        self.check_hierarchies(&filter)?;
        let mut all = Vec::new();
        for path in &lookup.paths {
            all.push(paths::from_wire(path)?);
        }
        for id in lookup.ids.iter().flatten() {
            all.extend(self.paths_of(CgroupId(*id), lookup.at.as_deref(), &filter)?);
        }
        let mut results = Vec::new();
        for path in &all {
            results.push(self.result(path, lookup, &filter)?);
        }
        Ok(wire::LookupReply { seq: self.last_seq()?, results })
    }

    /// The paths of the cgroups with an id; if none existed at that time, the last one that had it.
    fn paths_of(&mut self, id: CgroupId, at: Option<&str>, filter: &Filter) -> Result<Vec<Vec<u8>>, Failure> {
        let existing = self.existing(at, At::Below(b"/"))?.instances;
        let with_id = |instance: &StoredInstance| {
            instance.cgroup.id == id && filter.selects_hierarchy(&instance.cgroup)
        };
        let mut found: Vec<Vec<u8>> =
            existing.into_iter().filter(with_id).filter_map(|instance| instance.cgroup.path).collect();
        if found.is_empty() {
            let previous = self.archive.reader().previous_by_id(&Hierarchies::All, id);
            let previous = previous.map_err(|error| self.failure(error))?.filter(with_id);
            found.extend(previous.and_then(|instance| instance.cgroup.path));
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn result(
        &mut self,
        path_bytes: &[u8],
        lookup: &wire::Lookup,
        filter: &Filter,
    ) -> Result<wire::PathResult, Failure> {
        let current = self.existing(lookup.at.as_deref(), At::Path(path_bytes))?.instances;
        let mut reader = self.archive.reader();
        let horizon = reader.horizon();
        let previous = match lookup.previous {
            Some(false) => Ok(Vec::new()),
            _ => reader.previous(&Hierarchies::All, path_bytes, MAX_PREVIOUS_READ),
        };
        let horizon = horizon.map_err(|error| self.failure(error))?;
        let previous = previous.map_err(|error| self.failure(error))?;
        let before = lookup.at.as_deref().map(wall_ns).transpose()?.unwrap_or(i64::MAX);
        let since = horizon.map(|horizon| StoredEncoder::timestamp(&horizon.since)).unwrap_or_default();
        // Ids of hierarchies change with each boot; names do not.
        let mut hierarchies: BTreeMap<String, wire::HierarchyResult> = BTreeMap::new();
        let mut add = |instance: &StoredInstance, is_current: bool| {
            let wire::RemovedCgroup { hierarchy, hierarchy_id, instance } = ENCODER.removed(instance);
            let on = hierarchies.entry(hierarchy.clone()).or_insert_with(|| wire::HierarchyResult {
                hierarchy,
                hierarchy_id,
                observed_since: since,
                scanned: true,
                complete_since: Some(since),
                ..wire::HierarchyResult::default()
            });
            if is_current {
                on.present = true;
                on.current = Some(instance);
            } else if on.previous.len() < MAX_PREVIOUS {
                on.previous.push(instance);
            }
        };
        for instance in current.iter().filter(|instance| filter.selects_hierarchy(&instance.cgroup)) {
            add(instance, true);
        }
        let ended = previous.iter().filter(|instance| removed_ns(instance) <= before);
        for instance in ended.filter(|instance| filter.selects_hierarchy(&instance.cgroup)) {
            add(instance, false);
        }
        let (text, path_hex) = path(Some(path_bytes));
        let PathOwner { unit, slice, pod_uid, qos, container_id, runtime } = PathOwner::of(path_bytes);
        let hierarchies: Vec<_> = hierarchies.into_values().collect();
        Ok(wire::PathResult {
            path: text.unwrap_or_default(),
            path_hex,
            unit,
            slice,
            pod_uid,
            qos,
            container_id,
            runtime,
            present: hierarchies.iter().any(|on| on.present),
            hierarchies,
        })
    }

    /// What existed at a time; without one, at the end of the record.
    fn existing(&mut self, at: Option<&str>, which: At<'_>) -> Result<Existing, Failure> {
        let at_ns = at.map_or(Ok(self.end.wall_ns), wall_ns)?;
        let state = self.archive.reader().at(at_ns, &Hierarchies::All, which);
        let (gap, oldest) = match state.map_err(|error| self.failure(error))? {
            StateAt::Known { instances, incomplete_for } => {
                return Ok(Existing { instances, incomplete_for });
            }
            StateAt::Unknown { gap, oldest } => (gap, oldest),
        };
        let asked = wire::Timestamp::from_unix_ns(i128::from(at_ns), 0);
        let mut text = format!("nothing is recorded about {}", text::timestamp(&asked));
        if let Some(gap) = gap {
            text.push_str(&format!(": {}", StoredEncoder::gap(&gap)));
        }
        if let Some(oldest) = oldest {
            text.push_str(&format!(
                "; the record begins at {}",
                text::timestamp(&StoredEncoder::timestamp(&oldest))
            ));
        }
        text.push_str(&format!("; it ends at {}", text::timestamp(&self.end())));
        Err(Failure::NoAnswer(anyhow!(text)))
    }

    fn last_seq(&mut self) -> Result<u64, Failure> {
        let last = self.archive.reader().last_seq();
        last.map_err(|error| self.failure(error))
    }
}

/// When an instance was removed, at the latest.
fn removed_ns(instance: &StoredInstance) -> i64 {
    match &instance.end {
        Some(End::Event(event)) => event.at.wall_ns,
        Some(End::During(gap)) => gap.until.wall_ns,
        None => i64::MAX,
    }
}

/// The path of the parent; a root has none.
fn parent(path: &[u8]) -> Option<&[u8]> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    match (slash, path) {
        (_, b"/") => None,
        (0, _) => Some(b"/"),
        _ => path.get(..slash),
    }
}
