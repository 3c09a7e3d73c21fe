//! Open files: their limit, and what to say when it is reached.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. The usual soft limit, 1,024, is there for programs that use select(2);
/// each client takes a descriptor.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::debug!(%error, "failed to raise the limit on open files");
    }
}

/// What to do about an error that came with a file: `otherwise`, unless no descriptor was left.
#[must_use]
pub fn next_step(error: &io::Error, otherwise: &'static str) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "raise the limit on open files (LimitNOFILE= in the unit, `ulimit -n`)",
        Some(libc::ENFILE) => "raise the machine's limit on open files (sysctl fs.file-max)",
        _ => otherwise,
    }
}
