//! The history: everything that is over. A bounded store of events, instances, moves, execs and gaps, in
//! SQLite databases, in memory or on disk.
//!
//! The daemon passes [`Entry`]s to a [`Recorder`], whose thread writes them, and asks it questions; a
//! [`Reader`] answers them. An [`Archive`] reads a folder without a daemon. The store is a sequence of
//! *segments*, each one database that begins with every cgroup that existed then; the oldest is removed when
//! the history is full. Whatever cannot be stored leaves a [`Gap`], so that no answer claims more than is
//! known.

mod archive;
mod entry;
mod error;
mod folder;
mod reader;
mod recorder;
mod renames;
mod schema;
mod segment;
mod store;
mod stored;
mod writer;

pub use archive::Archive;
pub use entry::{
    Begin, Entry, EntryCgroup, EntryCreation, EntryEvent, EntryExec, EntryLive, EntryProcess, EntryTask,
    LiveSet, Origin,
};
pub use error::Error;
pub use reader::{
    At, AtQuery, Boot, EventQuery, Hierarchies, Item, KindSet, MovesQuery, Page, Reader, RemovedPage,
    RemovedPaths, RemovedPosition, RemovedQuery, RowPosition, StateAt,
};
pub use recorder::{Recorder, Requests, Wake};
pub use schema::{APPLICATION_ID, FORMAT, SCHEMA};
pub use store::{Opened, Options, State};
pub use stored::{
    End, Gap, GapReason, Horizon, Moment, StoredCgroup, StoredCreation, StoredEvent, StoredExec,
    StoredHierarchy, StoredInstance, StoredTask,
};
