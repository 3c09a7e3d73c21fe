//! What existed at one moment. It is taken and sent piece by piece, while others run.

use std::rc::Rc;

use cgtrace_client::wire;

use super::super::{
    encode::{CgroupIter, Encoder, hierarchy_name},
    events::{Patterns, TooCostly},
    failure::{CallError, Failure},
    limits::{Resource, Share},
    transport::Connection,
};
use super::reply::LongReply;
use crate::daemon::index::{HierarchyId, Index, Paused};

/// Cgroups in one reply of several.
const MAX_PER_REPLY: usize = 500;

/// Bytes after which such a reply is sent.
const REPLY_BYTES: usize = 256 << 10;

/// Cgroups after which others may run.
const PIECE: usize = 16;

/// How often it is begun again because something changed; then it is taken at once.
const TRIES: u32 = 3;

/// The cgroups of one moment, parents before children.
pub struct Snapshot {
    /// The number of the last event before it.
    pub seq: u64,
    encoder: Encoder,
    hierarchies: Vec<String>,
    left: std::vec::IntoIter<Item>,
    /// The path of the last one that had one.
    path: Vec<u8>,
    _counted: Share,
}

/// A cgroup, and its path as the difference to the one before: paths in a deep tree are long, and much alike.
struct Item {
    hierarchy: usize,
    listed: CgroupIter,
    /// How many bytes are the same, and the others; `None`: the path is unknown.
    path: Option<(usize, Box<[u8]>)>,
}

impl Snapshot {
    /// What matches now, on the hierarchies that are `wanted`. Nothing else runs between that moment and the return.
    pub async fn take(
        connection: &mut Connection,
        patterns: &Patterns,
        wanted: impl Fn(HierarchyId) -> bool,
    ) -> Result<Self, Failure> {
        let shared = Rc::clone(&connection.shared);
        connection.end_turn();
        let large = shared.socket(connection.class).large.acquire().await;
        connection.settled().await?;
        let encoder = shared.encoder(connection.class);
        for attempt in 0..=TRIES {
            let counted = connection.account.take(Resource::UnreadReplyBytes, 1, &connection.limits())?;
            let shape = shared.tracker.borrow().index().shape();
            let mut taking = Taking::begin(shared.tracker.borrow().index(), &wanted, counted);
            loop {
                {
                    let tracker = shared.tracker.borrow();
                    if tracker.index().shape() != shape {
                        break;
                    }
                    if taking.go_on(tracker.index(), patterns, connection)? {
                        drop(large);
                        return Ok(taking.end(tracker.index(), encoder));
                    }
                }
                if attempt < TRIES {
                    connection.yield_turn().await;
                }
            }
        }
        // Nothing else runs during the last attempt, so nothing changes.
        Err(Failure::unavailable("the index changed while it was read; retry"))
    }

    /// Sends it, in several replies or one. `head` is what each reply begins with; `ends`: the last is the call's.
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
                if count % PIECE == 0 {
                    connection.yield_turn().await;
                }
            }
            let last = self.left.len() == 0;
            reply.send(connection, !(last && ends)).await?;
            if last {
                return Ok(());
            }
        }
    }

    fn next(&mut self) -> Option<wire::Cgroup> {
        let Self { encoder, hierarchies, left, path, .. } = self;
        let Item { hierarchy, listed, path: difference } = left.next()?;
        let known = difference.map(|(same, rest)| {
            path.truncate(same);
            path.extend_from_slice(&rest);
            &**path
        });
        Some(encoder.cgroup(&hierarchies[hierarchy], &listed, known))
    }
}

/// A snapshot that is being taken.
struct Taking {
    hierarchies: Vec<String>,
    /// What is still to be scanned, the next one last.
    left: Vec<(usize, Paused)>,
    found: Vec<Item>,
    path: Vec<u8>,
    path_bytes: usize,
    counted: Share,
}

impl Taking {
    fn begin(index: &Index, wanted: impl Fn(HierarchyId) -> bool, counted: Share) -> Self {
        let mut hierarchies = Vec::new();
        let mut left = Vec::new();
        for state in index.hierarchies().filter(|state| wanted(state.id)) {
            let Some(root) = index.resolve(state.id, b"/") else { continue };
            left.push((hierarchies.len(), index.subtree(root).pause()));
            hierarchies.push(hierarchy_name(&state));
        }
        left.reverse();
        Self { hierarchies, left, found: Vec::new(), path: Vec::new(), path_bytes: 0, counted }
    }

    /// Looks at a piece's cgroups; whether these were the last.
    fn go_on(
        &mut self,
        index: &Index,
        patterns: &Patterns,
        connection: &Connection,
    ) -> Result<bool, Failure> {
        let mut most = PIECE;
        while let Some((hierarchy, paused)) = self.left.pop() {
            let mut subtree = index.resume(paused);
            while most > 0
                && let Some((key, _)) = subtree.next()
            {
                most -= 1;
                let matches = patterns.matches(subtree.path());
                let matches = matches.map_err(|TooCostly| {
                    Failure::unavailable("the patterns take too long to match; use fewer or simpler ones")
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
                let listed = CgroupIter {
                    key,
                    parent: instance.parent.0,
                    level: instance.level,
                    creation: instance.creation,
                };
                self.found.push(Item { hierarchy, listed, path });
            }
            if !subtree.is_over() {
                self.left.push((hierarchy, subtree.pause()));
            }
            if most == 0 {
                break;
            }
        }
        let bytes = self.found.capacity() * size_of::<Item>() + self.path_bytes;
        self.counted.resize(bytes, &connection.limits())?;
        Ok(self.left.is_empty())
    }

    fn end(self, index: &Index, encoder: Encoder) -> Snapshot {
        let Self { hierarchies, found, counted, .. } = self;
        Snapshot {
            seq: index.seq(),
            encoder,
            hierarchies,
            left: found.into_iter(),
            path: Vec::new(),
            _counted: counted,
        }
    }
}
