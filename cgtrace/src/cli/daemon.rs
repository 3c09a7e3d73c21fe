//! `daemon`: the service in the foreground.

use std::{ffi::OsStr, io::IsTerminal as _, os::unix::ffi::OsStrExt as _, path::Path};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

use super::{Verdict, arguments, failure::Failure};
use crate::{
    probe,
    server::{DaemonOptions, run_daemon},
    service::LogFormat,
};

/// The environment variable that says what is logged: `debug`, `cgtrace::probe=trace`.
const LOG_VARIABLE: &str = "CGTRACE_LOG";

pub fn run(daemon: &arguments::Daemon, socket: &Path) -> Result<Verdict, Failure> {
    let watched = daemon.watched.iter().map(|comm| padded(comm)).collect::<Result<_, _>>()?;
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .with_env_var(LOG_VARIABLE)
        .from_env()
        .map_err(|error| Failure::Usage(anyhow!(error).context(format!("{LOG_VARIABLE} cannot be read"))))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .event_format(LogFormat::of_stderr())
        .init();
    run_daemon(&DaemonOptions {
        socket: socket.to_owned(),
        probe: probe::Options {
            index_ring_bytes: daemon.index_ring << 20,
            told_ring_bytes: daemon.told_ring << 20,
            watched,
            kernel_log: daemon.kernel_log,
            btf: daemon.btf.clone(),
        },
    })
    .map_err(Failure::CannotKnow)?;
    Ok(Verdict::Yes)
}

/// A process name as the kernel keeps it: 15 bytes and a NUL.
fn padded(comm: &OsStr) -> Result<[u8; 16], Failure> {
    let bytes = comm.as_bytes();
    let mut padded = [0; 16];
    if bytes.is_empty() || bytes.contains(&0) {
        return Err(Failure::Usage(anyhow!("--watch needs a process's name, like kubelet")));
    }
    // The kernel cuts longer ones itself (`TASK_COMM_LEN`): a program `a-very-long-name-indeed` is `a-very-long-nam`.
    let kept = &bytes[..bytes.len().min(15)];
    padded[..kept.len()].copy_from_slice(kept);
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_as_the_kernel_cuts_it() {
        assert_eq!(&padded(OsStr::new("a-very-long-name-indeed")).unwrap(), b"a-very-long-nam\0");
        assert_eq!(&padded(OsStr::new("kubelet")).unwrap(), b"kubelet\0\0\0\0\0\0\0\0\0");
        assert!(padded(OsStr::new("")).is_err());
    }
}
