//! What the figures share with the tests.

#[path = "../../../tests/support/peer.rs"]
pub mod peer;
