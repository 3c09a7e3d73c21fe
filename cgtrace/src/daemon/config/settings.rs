//! The settings. One struct serves the file and the command line, so that every key is also a flag.

use std::{net::SocketAddr, path::PathBuf};

use cgtrace_client::RuntimeDir;
use clap::Args;
use serde::Deserialize;

use super::{
    limits::LimitSettings,
    value::{InvalidValue, check_range},
};
use crate::daemon::{history::OPTIONAL, probe::PIN_FOLDER};
use cgtrace_common::Kind;

/// All settings; `None` means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// The directory of both sockets; on the command line, the global `--runtime-dir`.
    #[arg(skip)]
    pub runtime_dir: Option<PathBuf>,
    /// Record the execs of processes with this comm (at most 15 bytes): when, in which cgroups, and the
    /// parent processes. Replaces the default list of kubelet and the container runtimes; may be repeated
    #[arg(long, value_name = "COMM")]
    pub track_exec: Option<Vec<String>>,
    /// Size of the lifecycle ring (records that the index needs), in MiB [default: 8]
    #[arg(long, value_name = "MIB")]
    pub lifecycle_ring: Option<u32>,
    /// Size of the activity ring (records that are only reported as events), in MiB [default: 8]
    #[arg(long, value_name = "MIB")]
    pub activity_ring: Option<u32>,
    /// BTF file of the running kernel [default: /sys/kernel/btf/vmlinux]
    #[arg(long, value_name = "PATH")]
    pub btf: Option<PathBuf>,
    /// Log anomalies that the BPF programs detect, too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub kernel_log: Option<bool>,
    /// Pin the BPF programs in a directory of a BPF file system: they keep recording after the daemon stops,
    /// and the next daemon takes over without a gap; `cgtrace unpin` removes them
    /// [without DIR: /sys/fs/bpf/cgtrace]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = PIN_FOLDER)]
    pub pin: Option<PathBuf>,
    /// Keep the history in a directory: it survives restarts [default: in memory]
    #[arg(long, value_name = "DIR")]
    pub history: Option<PathBuf>,
    /// Size of the history, in MiB [default: 16; with --history 256]
    #[arg(long, value_name = "MIB")]
    pub history_size: Option<u64>,
    /// How long the history is kept, in days [default: 30]
    #[arg(long, value_name = "DAYS")]
    pub history_days: Option<u64>,
    /// Also store events of this kind: release, populated, empty, freeze, thaw, frozen or thawed; may be
    /// repeated. Events of the other kinds are always stored
    #[arg(long, value_name = "KIND")]
    pub history_kinds: Option<Vec<String>>,
    /// Log filter: a level (error, warn, info, debug, trace), or levels by module [default: info]
    #[arg(long, value_name = "FILTER", env = "CGTRACE_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// Serve Prometheus metrics on this loopback address, e.g. 127.0.0.1:9469 [default: off]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    #[serde(deserialize_with = "read_address")]
    pub metrics_listen: Option<SocketAddr>,
    /// The limits; the file has them at the top level.
    #[command(flatten)]
    #[serde(skip)]
    pub limits: LimitSettings,
}

impl Settings {
    /// The names of all keys, as in the file.
    #[must_use]
    pub fn keys() -> Vec<String> {
        let flags = Self::augment_args(clap::Command::new("daemon"));
        let mut keys: Vec<String> =
            flags.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned).collect();
        keys.push("runtime-dir".to_owned());
        keys.sort();
        keys
    }

    /// Parses a file's text without checking keys and values. Parses twice instead of using `serde(flatten)`,
    /// which loses the position of errors.
    pub fn of_toml(text: &str) -> Result<Self, toml::de::Error> {
        Ok(Self { limits: toml::from_str(text)?, ..toml::from_str(text)? })
    }

    /// Checks every value that is set.
    pub fn check(&self) -> Result<(), InvalidValue> {
        check_range("lifecycle-ring", self.lifecycle_ring, 1..=1024)?;
        check_range("activity-ring", self.activity_ring, 1..=1024)?;
        self.limits.check()?;
        check_range("history-size", self.history_size, 1..=1 << 20)?;
        check_range("history-days", self.history_days, 1..=3_650)?;
        for kind in self.history_kinds.iter().flatten() {
            if !OPTIONAL.iter().any(|known| known.as_str() == kind) {
                let value = format!("`{}`", kind.escape_debug());
                let known = OPTIONAL.map(Kind::as_str).join(", ");
                return Err(InvalidValue::new("history-kinds", value, format!("one of: {known}")));
            }
        }
        for (key, path, example) in [
            ("runtime-dir", &self.runtime_dir, RuntimeDir::DEFAULT),
            ("btf", &self.btf, "/sys/kernel/btf/vmlinux"),
            ("pin", &self.pin, PIN_FOLDER),
            ("history", &self.history, "/var/lib/cgtrace"),
        ] {
            if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                return Err(InvalidValue::new(key, "``", format!("a path, e.g. {example}")));
            }
        }
        for comm in self.track_exec.iter().flatten() {
            if comm.is_empty() || comm.contains('\0') {
                let value = format!("`{}`", comm.escape_debug());
                return Err(InvalidValue::new("track-exec", value, "the comm of a process, e.g. kubelet"));
            }
        }
        if let Some(folder) = &self.pin
            && self.kernel_log == Some(true)
        {
            let expected =
                "no pin together with kernel-log, as the log of pinned BPF programs cannot be taken over";
            return Err(InvalidValue::new("pin", format!("`{}`", folder.display()), expected));
        }
        if let Some(address) = self.metrics_listen
            && !address.ip().is_loopback()
        {
            let expected = format!(
                "a loopback address, e.g. 127.0.0.1:{port} or [::1]:{port}; for access from other hosts, use an \
                 authenticating proxy",
                port = address.port()
            );
            return Err(InvalidValue::new("metrics-listen", address, expected));
        }
        Ok(())
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected a numeric address and a port, e.g. 127.0.0.1:9469 or [::1]:9469".to_owned())
}

fn read_address<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(reader)?;
    address(&text).map(Some).map_err(serde::de::Error::custom)
}
