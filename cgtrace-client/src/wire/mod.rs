//! The wire types, generated from [`INTERFACE`](crate::INTERFACE).
//!
//! There is one struct per type of the interface, one per method for its parameters (`Lookup`), and one for
//! its reply (`LookupReply`). Parameters are built by methods:
//! `Lookup::default().paths(["/"]).hierarchy("v2")`.

mod call;
mod doctor;
mod gap;
mod kind;
mod printed;
mod time;

pub use call::{Call, Reply};
pub use doctor::{Check, CheckResult, DoctorReport};
pub use generated::*;
pub use kind::EventKind;
pub use printed::{Answer, AnsweredFrom, ConfigChecked, Dropped, EventLine, ExistingLine, GapLine, Unpinned};
pub use time::Timestamp;
use time::rfc3339;

#[expect(missing_docs, reason = "self-explanatory fields have no comment in the interface")]
#[expect(clippy::default_trait_access, reason = "the generator does not spell out the types of defaults")]
mod generated {
    use std::time::SystemTime;

    use super::{EventKind, Timestamp, rfc3339};
    use crate::CgroupState;

    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}
