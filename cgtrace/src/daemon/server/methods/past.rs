//! The part of a lookup that the history answers: previous instances, and from when on nothing is missing.

use std::cmp::Reverse;

use cgtrace_client::wire;
use cgtrace_history::{Error, Hierarchies, Horizon, Reader, StoredInstance};

use crate::{
    daemon::{
        index::{CgroupId, HierarchyId, Index},
        server::encode::Encoder,
    },
    stored::{StoredEncoder, path as path_fields},
};

/// How many previous instances of a path are returned on each hierarchy.
const MAX_PREVIOUS: usize = 8;

/// What is looked up.
pub enum Subject {
    Path(Vec<u8>),
    /// On this boot.
    Id(CgroupId),
}

/// What to ask the history about the results of a lookup, in their order.
#[derive(Default)]
pub struct PastQuestion(Vec<(Subject, Vec<Hierarchies>)>);

/// Its answer: the previous instances for each result and hierarchy.
pub struct Past {
    previous: Vec<Vec<Vec<StoredInstance>>>,
    horizon: Option<Horizon>,
}

impl PastQuestion {
    pub fn add(&mut self, subject: Subject, result: &wire::PathResult, index: &Index) {
        let hierarchies =
            result.hierarchies.iter().map(|on| hierarchies_of(index, HierarchyId(on.hierarchy_id)));
        self.0.push((subject, hierarchies.collect()));
    }

    pub fn answer(&self, reader: &mut Reader<'_>) -> Result<Past, Error> {
        let mut previous = Vec::with_capacity(self.0.len());
        for (subject, hierarchies) in &self.0 {
            previous.push(match subject {
                Subject::Path(path) => reader.previous_on(hierarchies, path, MAX_PREVIOUS)?,
                Subject::Id(id) => hierarchies
                    .iter()
                    .map(|on| Ok(reader.previous_by_id(on, *id)?.into_iter().collect()))
                    .collect::<Result<_, Error>>()?,
            });
        }
        Ok(Past { previous, horizon: reader.horizon()? })
    }
}

/// The stored hierarchies that correspond to one of the index: ids change from boot to boot, names do not.
pub fn hierarchies_of(index: &Index, id: HierarchyId) -> Hierarchies {
    match index.hierarchy(id).and_then(|state| state.name) {
        Some(name) => Hierarchies::Named(name.to_string()),
        None => Hierarchies::Numbered(id),
    }
}

/// Adds what the history answered to the results.
pub fn fill(results: &mut [wire::PathResult], past: Past, index: &Index, encoder: Encoder, boot_id: &str) {
    let Past { previous, horizon } = past;
    let stored = StoredEncoder { current_boot: Some(boot_id), identities: encoder.class.shows_identities() };
    for (result, of_result) in results.iter_mut().zip(previous) {
        for (on, previous) in result.hierarchies.iter_mut().zip(of_result) {
            (on.complete_since, on.gap) = complete(index, encoder, on, horizon.as_ref(), boot_id);
            on.previous = previous.iter().map(|instance| stored.instance(instance)).collect();
            // An id's result has the last path that the history knows.
            if result.path.is_empty()
                && let Some(newest) = previous.first()
            {
                let (path, path_hex) = path_fields(newest.cgroup.path.as_deref());
                result.path = path.unwrap_or_default();
                result.path_hex = path_hex;
            }
        }
    }
}

/// From when on the record of a hierarchy is complete, and the gap that ended then.
fn complete(
    index: &Index,
    encoder: Encoder,
    on: &wire::HierarchyResult,
    horizon: Option<&Horizon>,
    boot_id: &str,
) -> (Option<wire::Timestamp>, Option<wire::Gap>) {
    if !encoder.recorded {
        return (None, None);
    }
    let lost = encoder.gap(index, HierarchyId(on.hierarchy_id));
    let lost = lost.map(|gap| (gap.until, Some(gap)));
    let stored = horizon.filter(|horizon| *horizon.since.boot_id == *boot_id).map(|horizon| {
        let since = StoredEncoder::timestamp(&horizon.since);
        let gap = horizon.after.map(|reason| wire::Gap {
            reason: reason.as_str().to_owned(),
            from: None,
            until: since,
            lost: None,
            // Who it was is nobody else's business.
            uid: horizon.uid.filter(|_| encoder.class.shows_identities()),
        });
        (since, gap)
    });
    // Of several reasons that apply from the same moment on, a gap says more.
    let candidates = [Some((on.observed_since, None)), stored, lost].into_iter().flatten();
    let latest = candidates.min_by_key(|(since, gap)| (Reverse(since.boot_ns), gap.is_none()));
    latest.map_or((None, None), |(since, gap)| (Some(since), gap))
}
