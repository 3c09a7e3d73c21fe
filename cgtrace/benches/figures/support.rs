//! Support code shared with the tests.

#[path = "../../../tests/support/peer.rs"]
pub mod peer;
