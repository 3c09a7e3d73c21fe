//! The types of the wire, generated from [`INTERFACE`](crate::INTERFACE): one for each of its types, and one for each
//! method's parameters and reply.

mod call;
mod printed;

pub use call::{Call, Reply};
pub use generated::*;
pub use printed::{ConfigChecked, Dropped, EventLine, Unpinned};

#[expect(missing_docs, reason = "a field whose name says it all has no comment in the interface")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/wire.rs"));
}
