//! How many files a test may have open.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::skip;

/// Enough for ten thousand connections and what the other tests have open.
const MANY: u64 = 12_000;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Raises the usual limit, also for the daemons that are started here, and gives the right to open ten thousand to
/// one test at a time.
pub fn many_descriptors() -> Result<MutexGuard<'static, ()>> {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < MANY) {
        let maximum = maximum.map(|maximum| maximum.max(MANY));
        setrlimit(Resource::Nofile, Rlimit { current: Some(MANY), maximum })
            .map_err(|error| skip(format!("{MANY} descriptors are not to be had here: {error}")))?;
    }
    Ok(guard)
}
