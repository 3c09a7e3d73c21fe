//! The state at a time in the past.

use cgtrace_common::Kind;

use super::{
    Hierarchies, Reader,
    decode::{Decoder, cgroup_row},
};
use crate::{
    error::Error,
    segment::dictionary::{Text, directory, split},
    stored::{Gap, GapReason, Moment, StoredEvent, StoredHierarchy, StoredInstance},
};

/// Which cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At<'p> {
    /// The one with this path.
    Path(&'p [u8]),
    /// This one and its descendants.
    Below(&'p [u8]),
}

/// The state at a time, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateAt {
    /// These cgroups existed.
    Known {
        /// Ordered by hierarchy and path.
        instances: Vec<StoredInstance>,
        /// Users whose cgroups may be missing, because they exceeded their share of the segment.
        incomplete_for: Vec<u32>,
    },
    /// Nothing is known about that time.
    Unknown {
        /// Why; `None`: it is before the first observation, or in the future.
        gap: Option<Gap>,
        /// The oldest moment about which something is stored.
        oldest: Option<Moment>,
    },
}

impl Reader<'_> {
    /// The cgroups that existed at a time: ns since 1970.
    pub fn at(&mut self, wall_ns: i64, hierarchies: &Hierarchies, which: At<'_>) -> Result<StateAt, Error> {
        let oldest = self.segments.first().map(|segment| segment.header.begun.clone());
        let Some(at) = self.segment_at(wall_ns) else {
            let gap = self.segments.first().filter(|segment| segment.number > 1).map(|segment| Gap {
                reason: GapReason::Retention,
                after_seq: 0,
                until_seq: segment.header.next_seq.saturating_sub(1),
                events: None,
                from: None,
                until: segment.header.begun.clone(),
                uid: None,
            });
            return Ok(StateAt::Unknown { gap, oldest });
        };
        let has_live_set = self.segments.get(at).is_some_and(|segment| segment.header.has_live_set);
        let (boot_id, is_observing) = (self.boot_id, self.is_observing);
        let answer = self.ask(at, |decoder| {
            let Some(boot) = observed_boot(decoder, wall_ns, is_observing)? else {
                let gap = decoder.gaps(
                    "where until_boot_ns + (select zero_wall_ns from clock where no = until_clock) >= ?1
                     and uid is null order by no limit 1",
                    [wall_ns],
                )?;
                return Ok(StateAt::Unknown { gap: gap.into_iter().next(), oldest: None });
            };
            let selected = decoder.selected(hierarchies, boot_id)?;
            let incomplete_for = incomplete_for(decoder, wall_ns)?;
            let instances = existing(decoder, wall_ns, boot, selected.as_deref(), which)?;
            Ok(StateAt::Known { instances, incomplete_for })
        })?;
        Ok(match answer {
            Some(StateAt::Unknown { gap, .. }) => StateAt::Unknown { gap, oldest },
            // A path's own rows are complete anyway only if the segment begins with every cgroup.
            Some(StateAt::Known { .. }) if !has_live_set => StateAt::Unknown { gap: None, oldest },
            Some(known) => known,
            None => StateAt::Unknown { gap: None, oldest },
        })
    }
}

impl Reader<'_> {
    /// The hierarchies that existed at a time (ns since 1970), as far as something is stored about them.
    pub fn hierarchies_at(&mut self, wall_ns: i64) -> Result<Vec<StoredHierarchy>, Error> {
        let Some(at) = self.segment_at(wall_ns) else { return Ok(Vec::new()) };
        let is_observing = self.is_observing;
        let found = self.ask(at, |decoder| match observed_boot(decoder, wall_ns, is_observing)? {
            Some(boot) => decoder.hierarchies_of(boot),
            None => Ok(Vec::new()),
        })?;
        Ok(found.unwrap_or_default())
    }

    /// The newest segment that was begun at that time.
    fn segment_at(&self, wall_ns: i64) -> Option<usize> {
        self.segments.iter().rposition(|segment| segment.header.begun.wall_ns <= wall_ns)
    }
}

/// The boot that was observed at a time.
fn observed_boot(decoder: &Decoder<'_>, wall_ns: i64, is_observing: bool) -> Result<Option<i64>, Error> {
    let mut rows = decoder.on.prepare_cached(
        "select f.boot from period p join clock f on f.no = p.from_clock join clock u on u.no = p.until_clock
         where f.zero_wall_ns + p.from_boot_ns <= ?1
             and (u.zero_wall_ns + p.until_boot_ns >= ?1 or ?2 and p.ended = 0 and p.no = (select max(no) from period))
         order by p.no desc limit 1",
    )?;
    Ok(rows.query_map((wall_ns, is_observing), |row| row.get(0))?.next().transpose()?)
}

/// The users whose events are not all stored up to a time.
fn incomplete_for(decoder: &mut Decoder<'_>, wall_ns: i64) -> Result<Vec<u32>, Error> {
    let gaps = decoder.gaps(
        "where uid is not null
         and from_boot_ns + (select zero_wall_ns from clock where no = from_clock) <= ?1 order by uid",
        [wall_ns],
    )?;
    Ok(gaps.into_iter().filter_map(|gap| gap.uid).collect())
}

fn existing(
    decoder: &mut Decoder<'_>,
    wall_ns: i64,
    boot: i64,
    selected: Option<&[i64]>,
    which: At<'_>,
) -> Result<Vec<StoredInstance>, Error> {
    let renames = renames(decoder, wall_ns)?;
    if renames.is_empty() {
        return rows_of(decoder, wall_ns, boot, selected, which);
    }
    // The rows of a renamed cgroup's descendants may have older paths: all are read, and then selected.
    let mut found = rows_of(decoder, wall_ns, boot, selected, At::Below(b"/"))?;
    for rename in &renames {
        apply(rename, &mut found);
    }
    found.retain(|instance| {
        instance.cgroup.path.as_deref().is_some_and(|path| match which {
            At::Path(wanted) => path == wanted,
            At::Below(above) => {
                let above = directory(above);
                path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            }
        })
    });
    found.sort_by(|a, b| (a.cgroup.hierarchy, &a.cgroup.path).cmp(&(b.cgroup.hierarchy, &b.cgroup.path)));
    Ok(found)
}

/// The rows that existed at a time, with the paths that they have.
fn rows_of(
    decoder: &mut Decoder<'_>,
    wall_ns: i64,
    boot: i64,
    selected: Option<&[i64]>,
    which: At<'_>,
) -> Result<Vec<StoredInstance>, Error> {
    let (At::Path(path) | At::Below(path)) = which;
    let below = directory(path);
    let (from, to) = ([below, b"/"].concat(), [below, b"0"].concat());
    let (dir, leaf) = split(path);
    let descendants = if matches!(which, At::Below(_)) {
        "union select no from cgroup
         where dir in (select no from path where path = ?3 or path >= ?4 and path < ?5)"
    } else {
        // Bound, so that both statements take the same values.
        "union select no from cgroup where false and ?3 = ?4 and ?4 = ?5"
    };
    let on = decoder.on;
    // A row exists from its creation, or from the event that gave the cgroup its path, to its end.
    let mut statement = on.prepare_cached(&format!(
        "with concerned (no) as (
            select no from cgroup where dir = (select no from path where path = ?1) and leaf = ?2 {descendants}
        )
        select g.no, g.creation, g.ended, g.hierarchy, g.id, p.path, g.leaf
        from concerned join cgroup g on g.no = concerned.no
            left join path p on p.no = g.dir
            left join event b on b.seq = g.no left join clock bc on bc.no = b.clock
            left join creation n on n.no = g.creation left join clock nc on nc.no = n.clock
            left join event e on e.seq = g.ended left join clock ec on ec.no = e.clock
            left join gap x on x.no = -g.ended left join clock xc on xc.no = x.from_clock
        where coalesce(bc.zero_wall_ns + b.boot_ns, nc.zero_wall_ns + n.boot_ns, ?6) <= ?6
            and (g.ended is null
                or coalesce(ec.zero_wall_ns + e.boot_ns, xc.zero_wall_ns + x.from_boot_ns, ?6) > ?6)
        order by g.hierarchy, p.path || '/' || g.leaf"
    ))?;
    let mut rows = statement.query((Text(dir), Text(leaf), Text(below), Text(&from), Text(&to), wall_ns))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (no, creation): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let Some(cgroup) = cgroup_row(row, 3)? else { continue };
        if selected.is_some_and(|selected| !selected.contains(&cgroup.hierarchy))
            || decoder.boot_of(cgroup.hierarchy)? != Some(boot)
        {
            continue;
        }
        // Its end came later.
        found.push(decoder.instance(no, cgroup, creation, None)?);
    }
    Ok(found)
}

/// The renames up to a time, oldest first.
fn renames(decoder: &mut Decoder<'_>, wall_ns: i64) -> Result<Vec<StoredEvent>, Error> {
    let on = decoder.on;
    // The number is part of the text: only then is the index of renames used.
    const { assert!(Kind::Rename as u8 == 3) };
    let mut statement = on.prepare_cached(
        "select e.seq from event e join clock c on c.no = e.clock
         where e.kind = 3 and c.zero_wall_ns + e.boot_ns <= ?1 order by e.seq",
    )?;
    let numbers = statement.query_map([wall_ns], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    let mut renames = Vec::new();
    for number in numbers {
        renames.extend(decoder.event_by_number(number)?);
    }
    Ok(renames)
}

/// Gives the descendants of a renamed cgroup their paths: their rows change with their next event only.
fn apply(rename: &StoredEvent, found: &mut [StoredInstance]) {
    let (Some(to), Some(from)) = (&rename.cgroup, &rename.from) else { return };
    let (Some(new), Some(old)) = (&to.path, &from.path) else { return };
    let prefix = [&old[..], b"/"].concat();
    for instance in found {
        let existed =
            instance.creation.as_ref().is_none_or(|created| created.at.wall_ns <= rename.at.wall_ns);
        if let Some(path) = &mut instance.cgroup.path
            && instance.cgroup.hierarchy == to.hierarchy
            && existed
            && let Some(below) = path.strip_prefix(&prefix[..])
        {
            *path = [&new[..], b"/", below].concat();
        }
    }
}
