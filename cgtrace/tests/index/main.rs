//! Tests of the index alone: events, inference, and queries.
#![expect(clippy::unwrap_used, reason = "test helpers fail as tests do")]

mod apply;
mod evidence;
mod hierarchies;
mod record_only;
mod script;
