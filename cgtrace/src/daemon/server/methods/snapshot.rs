//! The cgroups that exist at one point in time. A snapshot is taken and sent in chunks, so that other tasks
//! run in between.

use std::rc::Rc;

use cgtrace_client::wire;

use super::super::{
    encode::{Encoder, ListedCgroup, hierarchy_name},
    events::{Patterns, TooCostly},
    failure::{CallError, ErrorReply},
    limits::{Resource, Share},
    transport::Connection,
};
use super::reply::LongReply;
use crate::daemon::index::{HierarchyId, Index, Paused};

/// Maximum number of cgroups in one of several replies.
const MAX_PER_REPLY: usize = 500;

/// Size after which one of several replies is sent.
const REPLY_BYTES: usize = 256 << 10;

/// Number of cgroups after which other tasks may run.
const CHUNK: usize = 16;

/// How often a snapshot is restarted after a change; the last attempt does not yield.
const RETRIES: u32 = 3;

/// The cgroups, parents before children.
pub struct Snapshot {
    /// The sequence number of the last event before the snapshot.
    pub seq: u64,
    encoder: Encoder,
    hierarchies: Vec<String>,
    remaining: std::vec::IntoIter<SnapshotEntry>,
    /// The last known path.
    path: Vec<u8>,
    _counted: Share,
}

/// A cgroup, with its path as the difference to the previous one: paths in a deep tree are long and similar.
struct SnapshotEntry {
    hierarchy: usize,
    listed: ListedCgroup,
    /// The number of common bytes, and the rest; `None` if the path is unknown.
    path: Option<(usize, Box<[u8]>)>,
}

impl Snapshot {
    /// The matching cgroups on the selected hierarchies. No other task runs between the snapshot and the
    /// return.
    pub async fn take(
        connection: &mut Connection,
        patterns: &Patterns,
        selects: impl Fn(HierarchyId) -> bool,
    ) -> Result<Self, ErrorReply> {
        let shared = Rc::clone(&connection.shared);
        connection.end_turn();
        let large = shared.socket(connection.class).large.acquire().await;
        connection.settled().await?;
        let encoder = shared.encoder(connection.class);
        for attempt in 0..=RETRIES {
            let counted = connection.account.take(Resource::UnreadReplyBytes, 1, &connection.limits())?;
            let shape = shared.tracker.borrow().index().shape();
            let mut builder = SnapshotBuilder::begin(shared.tracker.borrow().index(), &selects, counted);
            loop {
                {
                    let tracker = shared.tracker.borrow();
                    if tracker.index().shape() != shape {
                        break;
                    }
                    if builder.advance(tracker.index(), patterns, connection)? {
                        drop(large);
                        return Ok(builder.finish(tracker.index(), encoder));
                    }
                }
                if attempt < RETRIES {
                    connection.yield_turn().await;
                }
            }
        }
        // Not reached: the last attempt does not yield, so nothing changes.
        Err(ErrorReply::unavailable("the index changed while it was read; retry"))
    }

    /// Sends the snapshot, in one reply or in several. `head` is the text before the list; `ends` marks the
    /// last reply as the last one of the call.
    pub async fn send(
        mut self,
        connection: &mut Connection,
        head: &str,
        several: bool,
        ends: bool,
    ) -> Result<(), CallError> {
        loop {
            let mut reply = LongReply::begin(connection, head)?;
            let mut count = 0;
            while let Some(cgroup) = self.next() {
                reply.push(connection, &cgroup)?;
                count += 1;
                if several && (count == MAX_PER_REPLY || reply.len() > REPLY_BYTES) {
                    break;
                }
                if count % CHUNK == 0 {
                    connection.yield_turn().await;
                }
            }
            let last = self.remaining.len() == 0;
            reply.send(connection, !(last && ends)).await?;
            if last {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Option<wire::Cgroup> {
        let Self { encoder, hierarchies, remaining, path, .. } = self;
        let SnapshotEntry { hierarchy, listed, path: difference } = remaining.next()?;
        let known = difference.map(|(same, rest)| {
            path.truncate(same);
            path.extend_from_slice(&rest);
            &**path
        });
        Some(encoder.cgroup(&hierarchies[hierarchy], &listed, known))
    }
}

/// A snapshot under construction.
struct SnapshotBuilder {
    hierarchies: Vec<String>,
    /// The hierarchies still to be scanned, the next one last.
    remaining: Vec<(usize, Paused)>,
    found: Vec<SnapshotEntry>,
    path: Vec<u8>,
    path_bytes: usize,
    counted: Share,
}

impl SnapshotBuilder {
    fn begin(index: &Index, selects: impl Fn(HierarchyId) -> bool, counted: Share) -> Self {
        let mut hierarchies = Vec::new();
        let mut remaining = Vec::new();
        for state in index.hierarchies().filter(|state| selects(state.id)) {
            let Some(root) = index.resolve(state.id, b"/") else { continue };
            remaining.push((hierarchies.len(), index.subtree(root).pause()));
            hierarchies.push(hierarchy_name(&state));
        }
        remaining.reverse();
        Self { hierarchies, remaining, found: Vec::new(), path: Vec::new(), path_bytes: 0, counted }
    }

    /// Scans a chunk of cgroups; returns whether the snapshot is complete.
    fn advance(
        &mut self,
        index: &Index,
        patterns: &Patterns,
        connection: &Connection,
    ) -> Result<bool, ErrorReply> {
        let mut budget = CHUNK;
        while let Some((hierarchy, paused)) = self.remaining.pop() {
            let mut subtree = index.resume(paused);
            while budget > 0
                && let Some((key, _)) = subtree.next()
            {
                budget -= 1;
                let matches = patterns.matches(subtree.path());
                let matches = matches.map_err(|TooCostly| {
                    ErrorReply::unavailable("the patterns take too long to match; use fewer or simpler ones")
                });
                if !matches? {
                    continue;
                }
                let Some(instance) = index.instance(key) else { continue };
                let path = subtree.path().map(|path| {
                    let same = self.path.iter().zip(path).take_while(|(one, other)| one == other).count();
                    let rest: Box<[u8]> = path.get(same..).unwrap_or_default().into();
                    self.path.truncate(same);
                    self.path.extend_from_slice(&rest);
                    (same, rest)
                });
                self.path_bytes += path.as_ref().map_or(0, |(_, rest)| rest.len());
                let listed = ListedCgroup {
                    key,
                    parent: instance.parent.0,
                    level: instance.level,
                    creation: instance.creation,
                };
                self.found.push(SnapshotEntry { hierarchy, listed, path });
            }
            if !subtree.is_over() {
                self.remaining.push((hierarchy, subtree.pause()));
            }
            if budget == 0 {
                break;
            }
        }
        let bytes = self.found.capacity() * size_of::<SnapshotEntry>() + self.path_bytes;
        self.counted.resize(bytes, &connection.limits())?;
        Ok(self.remaining.is_empty())
    }

    fn finish(self, index: &Index, encoder: Encoder) -> Snapshot {
        let Self { hierarchies, found, counted, .. } = self;
        Snapshot {
            seq: index.seq(),
            encoder,
            hierarchies,
            remaining: found.into_iter(),
            path: Vec::new(),
            _counted: counted,
        }
    }
}
