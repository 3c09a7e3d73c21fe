//! Tests of the index alone: events, inference, and queries.
#![expect(clippy::unwrap_used, reason = "test helpers fail as tests do")]

mod apply;
mod dying;
mod evidence;
mod hierarchies;
mod live;
mod record_only;
mod script;
