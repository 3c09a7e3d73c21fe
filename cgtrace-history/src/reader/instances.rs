//! Previous instances.

use std::{cmp::Reverse, sync::Arc};

use cgtrace_common::{CgroupId, Kind};
use rusqlite::OptionalExtension as _;

use super::{
    Hierarchies, Reader,
    decode::{CgroupRow, Decoder, cgroup_row},
};
use crate::{
    error::Error,
    segment::dictionary::{Text, split},
    stored::{End, StoredInstance},
};

/// A row of the table `cgroup`.
pub(super) struct InstanceRow {
    no: i64,
    pub cgroup: CgroupRow,
    creation: Option<i64>,
    ended: Option<i64>,
}

/// The columns of an [`InstanceRow`].
pub(super) const COLUMNS: &str = "g.no, g.creation, g.ended, g.hierarchy, g.id, p.path, g.leaf from cgroup g left join path p on p.no = g.dir";

impl Reader<'_> {
    /// The previous instances of a path, newest first.
    pub fn previous(
        &mut self,
        hierarchies: &Hierarchies,
        path: &[u8],
        max: usize,
    ) -> Result<Vec<StoredInstance>, Error> {
        Ok(self.previous_on(std::slice::from_ref(hierarchies), path, max)?.pop().unwrap_or_default())
    }

    /// The same for each of several hierarchies: at most `max` on each.
    pub fn previous_on(
        &mut self,
        hierarchies: &[Hierarchies],
        path: &[u8],
        max: usize,
    ) -> Result<Vec<Vec<StoredInstance>>, Error> {
        let boot_id = self.boot_id;
        let (dir, leaf) = split(path);
        let mut found = vec![Vec::new(); hierarchies.len()];
        self.each_newest_first(|decoder| {
            // Most segments do not have the name at all.
            let Some(dir) = named(decoder, dir, leaf)? else { return Ok(false) };
            for (on, found) in hierarchies.iter().zip(&mut found) {
                let numbers = decoder.selected_numbers(on, boot_id)?;
                previous_in(decoder, &numbers, dir, leaf, max, found)?;
            }
            Ok(found.iter().all(|found| found.len() >= max))
        })?;
        for found in &mut found {
            newest_first(found);
        }
        Ok(found)
    }

    /// The previous instance with an id on the current boot.
    pub fn previous_by_id(
        &mut self,
        hierarchies: &Hierarchies,
        id: CgroupId,
    ) -> Result<Option<StoredInstance>, Error> {
        let boot_id = self.boot_id;
        let mut found = None;
        self.each_newest_first(|decoder| {
            let condition = "g.id = ?1 and g.ended is not null and g.hierarchy in
                (select h.no from hierarchy h join boot b on b.no = h.boot where b.id = ?2) order by g.no desc";
            let selected = decoder.selected(hierarchies, boot_id)?;
            let newest = ended(decoder, condition, (id.0.cast_signed(), boot_id), selected.as_deref(), 1)?.pop();
            found = newest.map(|(_, instance)| instance);
            Ok(found.is_some())
        })?;
        Ok(found)
    }
}

impl InstanceRow {
    pub fn decode(self, decoder: &mut Decoder<'_>) -> Result<StoredInstance, Error> {
        let Self { no, cgroup, creation, ended } = self;
        decoder.instance(no, cgroup, creation, ended)
    }
}

pub(super) fn instance_row(row: &rusqlite::Row<'_>) -> Result<Option<InstanceRow>, Error> {
    let cgroup = cgroup_row(row, 3)?;
    let (no, creation, ended) = (row.get(0)?, row.get(1)?, row.get(2)?);
    Ok(cgroup.map(|cgroup| InstanceRow { no, cgroup, creation, ended }))
}

/// One whose removal was missed is in a later segment than those that followed it, until the live set ends it.
fn newest_first(found: &mut [StoredInstance]) {
    let mut boots: Vec<Arc<str>> = Vec::new();
    for creation in found.iter().filter_map(|instance| instance.creation.as_ref()) {
        if !boots.contains(&creation.at.boot_id) {
            boots.push(Arc::clone(&creation.at.boot_id));
        }
    }
    found.sort_by_key(|instance| {
        let at = instance.creation.as_ref().map(|creation| &creation.at);
        let boot = at.and_then(|at| boots.iter().position(|boot| *boot == at.boot_id));
        (boot.unwrap_or(usize::MAX), Reverse(at.map_or(0, |at| at.boot_ns)))
    });
}

/// The number of a directory's path, if a cgroup is stored with this name in it.
fn named(decoder: &Decoder<'_>, dir: &[u8], leaf: &[u8]) -> Result<Option<i64>, Error> {
    let mut statement = decoder.on.prepare_cached(
        "select g.dir from cgroup g where g.dir = (select no from path where path = ?1) and g.leaf = ?2 limit 1",
    )?;
    Ok(statement.query_row((Text(dir), Text(leaf)), |row| row.get(0)).optional()?)
}

/// Adds the previous instances with a name on these hierarchies, until there are `max`.
fn previous_in(
    decoder: &mut Decoder<'_>,
    hierarchies: &[i64],
    dir: i64,
    leaf: &[u8],
    max: usize,
    found: &mut Vec<StoredInstance>,
) -> Result<(), Error> {
    let left = max - found.len();
    let mut numbered = Vec::new();
    // One after the other: the index then has the newest first, whatever is stored of the others.
    for hierarchy in hierarchies {
        let condition = "g.dir = ?1 and g.leaf = ?2 and g.hierarchy = ?3 and g.ended is not null
             order by g.no desc";
        numbered.extend(ended(decoder, condition, (dir, Text(leaf), hierarchy), None, left)?);
    }
    numbered.sort_unstable_by_key(|(no, _)| Reverse(*no));
    found.extend(numbered.into_iter().take(left).map(|(_, instance)| instance));
    Ok(())
}

/// The instances that a condition selects and that are over, in its order, with the numbers of their rows.
fn ended(
    decoder: &mut Decoder<'_>,
    condition: &str,
    values: impl rusqlite::Params,
    selected: Option<&[i64]>,
    max: usize,
) -> Result<Vec<(i64, StoredInstance)>, Error> {
    let on = decoder.on;
    let mut statement = on.prepare_cached(&format!("select {COLUMNS} where {condition}"))?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while found.len() < max
        && let Some(row) = rows.next()?
    {
        let Some(row) = instance_row(row)? else { continue };
        if selected.is_none_or(|selected| selected.contains(&row.cgroup.hierarchy)) {
            let no = row.no;
            let instance = row.decode(decoder)?;
            if is_over(&instance) {
                found.push((no, instance));
            }
        }
    }
    Ok(found)
}

/// A row also ends when its cgroup gets another path.
pub(super) fn is_over(instance: &StoredInstance) -> bool {
    match &instance.end {
        Some(End::Event(event)) => {
            let is_of_this_path =
                event.cgroup.as_ref().is_none_or(|cgroup| cgroup.path == instance.cgroup.path);
            match event.kind {
                Kind::Rmdir => is_of_this_path,
                Kind::HierarchyCreated | Kind::HierarchyDestroyed => true,
                _ => false,
            }
        }
        Some(End::During(_)) => true,
        None => false,
    }
}
