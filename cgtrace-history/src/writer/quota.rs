//! The share of a segment that the events of one user may fill. Beyond it, that user's events are counted in
//! a gap instead: otherwise any user could push everybody's past out of the history.

use cgtrace_common::Kind;
use hashbrown::HashMap;

use super::{NewGap, Position, Writer};
use crate::{
    entry::{EntryEvent, EntryTask},
    error::Error,
    stored::GapReason,
};

/// How many users are counted separately; further ones are counted together.
const MAX_USERS: usize = 4_096;

/// The uid under which the users beyond [`MAX_USERS`] are counted: the one that chown(2) reserves.
const OTHERS: u32 = u32::MAX;

/// About how many bytes an event takes in a segment, without names.
const EVENT_BYTES: u64 = 48;

/// About how many bytes a cgroup takes, without names.
const CGROUP_BYTES: u64 = 64;

/// About how many bytes a task takes.
const TASK_BYTES: u64 = 64;

/// What each user has used of the segment.
#[derive(Debug)]
pub(super) struct Quota {
    limit: u64,
    users: HashMap<u32, Used>,
}

#[derive(Debug, Default)]
struct Used {
    bytes: u64,
    missing: Option<Missing>,
}

/// The events that are not stored.
#[derive(Clone, Copy, Debug)]
struct Missing {
    events: u64,
    after_seq: u64,
    from: Position,
    until: Position,
    /// The number of its row.
    gap: Option<i64>,
    stored: bool,
}

/// Whether an event may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charge {
    Fits,
    /// This uid has used its share.
    Exceeded(u32),
}

impl Quota {
    /// Each user but root may fill up to `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, users: HashMap::new() }
    }

    /// Counts an event of a user; `at` is its position.
    pub fn charge(&mut self, uid: Option<u32>, bytes: u64, at: Position) -> Charge {
        let Some(uid) = uid.filter(|uid| *uid != 0) else { return Charge::Fits };
        let uid = if self.users.len() < MAX_USERS || self.users.contains_key(&uid) { uid } else { OTHERS };
        let used = self.users.entry(uid).or_default();
        // Once a gap began, it lasts to the end of the segment: one gap says more than thousands.
        if used.missing.is_none() && used.bytes + bytes <= self.limit {
            used.bytes += bytes;
            return Charge::Fits;
        }
        let missing = used.missing.get_or_insert(Missing {
            events: 0,
            after_seq: at.seq.saturating_sub(1),
            from: at,
            until: at,
            gap: None,
            stored: false,
        });
        missing.events += 1;
        missing.until = at;
        missing.stored = false;
        Charge::Exceeded(uid)
    }
}

/// About how many bytes an event takes in a segment. Rather too many: the share is then a little less.
pub(super) fn cost(event: &EntryEvent) -> u64 {
    let length = |path: &Option<Box<[u8]>>| path.as_ref().map_or(0, |path| path.len() as u64);
    let paths: u64 =
        [&event.cgroup, &event.from].into_iter().flatten().map(|cgroup| length(&cgroup.path)).sum();
    let tasks = |tasks: &[EntryTask]| tasks.iter().map(|task| TASK_BYTES + length(&task.cgroup)).sum::<u64>();
    let exec = event.exec.as_ref().map_or(0, |exec| {
        tasks(&exec.ancestors)
            + exec.cgroups.iter().map(|cgroup| EVENT_BYTES + length(&cgroup.path)).sum::<u64>()
    });
    let rows = match event.kind {
        // A name is stored in the row and in the index of names.
        Kind::Mkdir | Kind::Rename => CGROUP_BYTES + 2 * paths,
        Kind::Rmdir => 0,
        _ => TASK_BYTES,
    };
    EVENT_BYTES + rows + exec
}

impl Writer {
    /// The number of the gap of a user above the quota.
    pub(super) fn quota_gap(&mut self, uid: u32) -> Result<i64, Error> {
        if let Some(no) = self.quota.users.get(&uid).and_then(|used| used.missing?.gap) {
            return Ok(no);
        }
        self.store_quota_gaps()?;
        self.quota.users.get(&uid).and_then(|used| used.missing?.gap).ok_or(Error::Ended)
    }

    /// Stores the gaps of users above the quota, as counted so far.
    /// Returns whether there were any.
    pub(super) fn store_quota_gaps(&mut self) -> Result<bool, Error> {
        let unstored = |used: &Used| used.missing.filter(|missing| !missing.stored);
        let pending: Vec<(u32, Missing)> =
            self.quota.users.iter().filter_map(|(uid, used)| Some((*uid, unstored(used)?))).collect();
        let changed = !pending.is_empty();
        for (uid, missing) in pending {
            let until = (self.clock(missing.until.zero_wall_ns)?, missing.until.boot_ns);
            let no = match missing.gap {
                Some(no) => {
                    let on = self.connection()?;
                    on.prepare_cached(
                        "update gap set until_seq = ?2, events = ?3, until_clock = ?4, until_boot_ns = ?5 where no = ?1",
                    )?
                    .execute((
                        no,
                        missing.until.seq.cast_signed(),
                        missing.events.cast_signed(),
                        until.0,
                        until.1.cast_signed(),
                    ))?;
                    no
                }
                None => {
                    let from = (self.clock(missing.from.zero_wall_ns)?, missing.from.boot_ns);
                    self.gap(&NewGap {
                        reason: GapReason::Quota,
                        after_seq: missing.after_seq,
                        until_seq: missing.until.seq,
                        events: Some(missing.events),
                        from: Some(from),
                        until,
                        uid: Some(uid),
                    })?
                }
            };
            if let Some(missing) = self.quota.users.get_mut(&uid).and_then(|used| used.missing.as_mut()) {
                missing.gap = Some(no);
                missing.stored = true;
            }
        }
        Ok(changed)
    }
}
