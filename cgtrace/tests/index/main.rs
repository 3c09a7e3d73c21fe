//! The index by itself: what each event, each proof and each merge of a scan does to it, and what it answers.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

mod apply;
mod evidence;
mod hierarchies;
mod record_only;
mod script;
