//! Compares a daemon's index with the cgroup file systems.
//!
//! Some machines have tasks whose mkdir and rmdir fire no tracepoint (docs/internals/design.md, "Evidence").
//! The index learns of their cgroups from other events, or from the resync that `Verify` starts for a
//! difference.

use anyhow::{Result, ensure};
use cgtrace_client::{
    Client,
    wire::{Difference, VerifyReply},
};

/// How often a difference about a cgroup that no test created is compared again.
const TRIES: usize = 5;

/// Fails unless the index equals the cgroup file systems; for cgroups that no test created, after a resync.
pub fn ensure_equal(client: &mut Client) -> Result<VerifyReply> {
    let mut tries = 1;
    loop {
        let reply = client.verify()?;
        if reply.equal {
            return Ok(reply);
        }
        let is_foreign = !reply.differences.iter().any(is_of_test);
        ensure!(is_foreign && tries < TRIES, "the index differs: {:?}", reply.differences);
        tries += 1;
    }
}

/// Whether a difference may be about a cgroup that a test created.
pub fn is_of_test(difference: &Difference) -> bool {
    difference.path.as_ref().is_none_or(|path| path.contains("cgtrace-test"))
}
