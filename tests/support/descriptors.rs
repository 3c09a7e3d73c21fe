//! The limit of open files.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::skip;

/// Enough for ten thousand connections and the files of the other tests.
const MANY: u64 = 12_000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Raises the soft limit, which daemons started later inherit, and lets one test at a time open ten thousand
/// files.
pub fn many_descriptors() -> Result<MutexGuard<'static, ()>> {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < MANY) {
        let maximum = maximum.map(|maximum| maximum.max(MANY));
        setrlimit(Resource::Nofile, Rlimit { current: Some(MANY), maximum })
            .map_err(|error| skip(format!("cannot raise the limit to {MANY} descriptors: {error}")))?;
    }
    Ok(guard)
}
