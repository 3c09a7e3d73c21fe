//! The types of the wire, generated from [`INTERFACE`](crate::INTERFACE): one for each of its types, and one for each
//! method's parameters and reply.

mod call;
mod kind;
mod printed;
mod time;

pub use call::{Call, Reply};
pub use generated::*;
pub use kind::EventKind;
pub use printed::{ConfigChecked, Dropped, EventLine, Unpinned};
pub use time::Timestamp;
use time::rfc3339;

#[expect(missing_docs, reason = "a field whose name says it all has no comment in the interface")]
mod generated {
    use std::time::SystemTime;

    use super::{EventKind, Timestamp, rfc3339};
    use crate::CgroupState;

    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}
