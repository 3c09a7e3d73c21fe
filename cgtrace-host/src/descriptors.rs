//! The limit on open files, and advice when it is reached.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard limit. The usual soft limit of 1,024 exists for programs that use
/// select(2); each client of the daemon takes a descriptor.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "failed to raise the limit on open files");
    }
}

/// Advice for an error of a file operation: `otherwise`, unless a limit on descriptors was reached.
#[must_use]
pub fn next_step(error: &io::Error, otherwise: &'static str) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "raise the limit on open files (LimitNOFILE= in the unit, `ulimit -n`)",
        Some(libc::ENFILE) => "raise the system-wide limit on open files (sysctl fs.file-max)",
        _ => otherwise,
    }
}

/// Whether an error is that of a process, or a machine, without another descriptor.
#[must_use]
pub fn are_exhausted(error: &(dyn std::error::Error + 'static)) -> bool {
    let errors = std::iter::successors(Some(error), |error| error.source());
    let codes = errors.filter_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error());
    codes.into_iter().any(|code| [libc::EMFILE, libc::ENFILE].contains(&code))
}
