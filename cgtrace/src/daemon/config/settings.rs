//! What can be set. One description serves the file and the command line, so that every key is also a flag.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, path::PathBuf};

use cgtrace_client::RuntimeDir;
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::daemon::probe::PIN_FOLDER;

/// A value that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` cannot be {value}: {right}")]
pub struct WrongValue {
    /// Which key.
    pub key: &'static str,
    /// What it was given.
    pub value: String,
    /// What would be right.
    pub right: String,
}

impl WrongValue {
    /// The same about the flag of that name.
    #[must_use]
    pub fn as_flag(&self) -> String {
        format!("`--{}` cannot be {}: {}", self.key, self.value, self.right)
    }
}

/// Everything that can be set; what is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The directory of both sockets; on the command line it is the global `--runtime-dir`.
    #[arg(skip)]
    pub runtime_dir: Option<PathBuf>,
    /// Keep who executes under this name (its comm: at most 15 bytes), when, where and started by whom, instead of
    /// kubelet and the container runtimes; may be repeated
    #[arg(long, value_name = "COMM")]
    pub watch: Option<Vec<String>>,
    /// The ring of what the index must know, in MiB [default: 8]
    #[arg(long, value_name = "MIB")]
    pub index_ring: Option<u32>,
    /// The ring of what is only told, in MiB [default: 8]
    #[arg(long, value_name = "MIB")]
    pub told_ring: Option<u32>,
    /// The file that describes the kernel's types [default: /sys/kernel/btf/vmlinux]
    #[arg(long, value_name = "PATH")]
    pub btf: Option<PathBuf>,
    /// Log the kernel program's own anomalies too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub kernel_log: Option<bool>,
    /// Pin the hooks in a folder of a BPF file system: they go on recording when the daemon ends, and the next one
    /// takes over without a hole (`cgtrace unpin` ends it) [without DIR: /sys/fs/bpf/cgtrace]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = PIN_FOLDER)]
    pub pin: Option<PathBuf>,
    /// What is logged: a level (error, warn, info, debug, trace), or levels of parts [default: info]
    #[arg(long, value_name = "FILTER", env = "CGTRACE_LOG", hide_env_values = true)]
    pub log: Option<String>,
    /// Serve metrics to Prometheus on this loopback address, like 127.0.0.1:9469 [default: not at all]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    #[serde(deserialize_with = "read_address")]
    pub metrics_listen: Option<SocketAddr>,
    /// Connections to the private socket at a time [default: 16384]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_connections: Option<usize>,
    /// Connections to the public socket at a time; one uid can have a quarter of them [default: 2048]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_public_connections: Option<usize>,
    /// Bytes of one call [default: 1048576]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_call_bytes: Option<usize>,
    /// Bytes of a socket's calls that are being received or answered [default: 16777216]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_pending_call_bytes: Option<usize>,
    /// Paths and ids of one Lookup [default: 10000]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_paths_per_lookup: Option<usize>,
    /// Patterns of one List or Watch [default: 1000]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_patterns_per_call: Option<usize>,
    /// Bytes of a socket's compiled patterns [default: 8388608]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_pattern_bytes: Option<usize>,
    /// Bytes of the events that wait for one subscriber before it misses some [default: 16777216]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_queued_bytes_per_subscriber: Option<usize>,
    /// Bytes of the events that wait for a socket's subscribers [default: 33554432]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_queued_bytes: Option<usize>,
    /// Bytes of a socket's replies that clients have not read [default: 67108864]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_unread_reply_bytes: Option<usize>,
    /// Bytes of the changes kept for clients that come back with a sequence number [default: 8388608]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_recent_bytes: Option<usize>,
    /// Bytes of the previous instances of all hierarchies; 0: none are kept [default: 16777216]
    #[arg(long, value_name = "BYTES", help_heading = LIMITS)]
    pub max_previous_bytes: Option<usize>,
}

const LIMITS: &str = "Limits";

impl Settings {
    /// Every key, by its name in the file.
    #[must_use]
    pub fn keys() -> Vec<String> {
        let flags = Self::augment_args(clap::Command::new("daemon"));
        let mut keys: Vec<String> =
            flags.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned).collect();
        keys.push("runtime-dir".to_owned());
        keys.sort();
        keys
    }

    /// These settings, and `other`'s where these say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            runtime_dir: self.runtime_dir.or(other.runtime_dir),
            watch: self.watch.or(other.watch),
            index_ring: self.index_ring.or(other.index_ring),
            told_ring: self.told_ring.or(other.told_ring),
            btf: self.btf.or(other.btf),
            kernel_log: self.kernel_log.or(other.kernel_log),
            pin: self.pin.or(other.pin),
            log: self.log.or(other.log),
            metrics_listen: self.metrics_listen.or(other.metrics_listen),
            max_connections: self.max_connections.or(other.max_connections),
            max_public_connections: self.max_public_connections.or(other.max_public_connections),
            max_call_bytes: self.max_call_bytes.or(other.max_call_bytes),
            max_pending_call_bytes: self.max_pending_call_bytes.or(other.max_pending_call_bytes),
            max_paths_per_lookup: self.max_paths_per_lookup.or(other.max_paths_per_lookup),
            max_patterns_per_call: self.max_patterns_per_call.or(other.max_patterns_per_call),
            max_pattern_bytes: self.max_pattern_bytes.or(other.max_pattern_bytes),
            max_queued_bytes_per_subscriber: self
                .max_queued_bytes_per_subscriber
                .or(other.max_queued_bytes_per_subscriber),
            max_queued_bytes: self.max_queued_bytes.or(other.max_queued_bytes),
            max_unread_reply_bytes: self.max_unread_reply_bytes.or(other.max_unread_reply_bytes),
            max_recent_bytes: self.max_recent_bytes.or(other.max_recent_bytes),
            max_previous_bytes: self.max_previous_bytes.or(other.max_previous_bytes),
        }
    }

    /// Whether every value can be.
    pub fn check(&self) -> Result<(), WrongValue> {
        within("index-ring", self.index_ring, 1..=1024)?;
        within("told-ring", self.told_ring, 1..=1024)?;
        within("max-connections", self.max_connections, 1..=1_000_000)?;
        within("max-public-connections", self.max_public_connections, 1..=1_000_000)?;
        within("max-call-bytes", self.max_call_bytes, 4_096..=64 << 20)?;
        within("max-pending-call-bytes", self.max_pending_call_bytes, 1 << 16..=1 << 40)?;
        within("max-paths-per-lookup", self.max_paths_per_lookup, 1..=1_000_000)?;
        within("max-patterns-per-call", self.max_patterns_per_call, 1..=100_000)?;
        within("max-pattern-bytes", self.max_pattern_bytes, 4_096..=1 << 40)?;
        within("max-queued-bytes-per-subscriber", self.max_queued_bytes_per_subscriber, 1..=1 << 40)?;
        within("max-queued-bytes", self.max_queued_bytes, 1..=1 << 40)?;
        within("max-unread-reply-bytes", self.max_unread_reply_bytes, 1 << 20..=1 << 40)?;
        within("max-recent-bytes", self.max_recent_bytes, 0..=1 << 40)?;
        within("max-previous-bytes", self.max_previous_bytes, 0..=1 << 40)?;
        for (key, path, like) in [
            ("runtime-dir", &self.runtime_dir, RuntimeDir::DEFAULT),
            ("btf", &self.btf, "/sys/kernel/btf/vmlinux"),
            ("pin", &self.pin, PIN_FOLDER),
        ] {
            if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                let right = format!("it takes a path, like {like}");
                return Err(WrongValue { key, value: "empty".to_owned(), right });
            }
        }
        for comm in self.watch.iter().flatten() {
            if comm.is_empty() || comm.contains('\0') {
                return Err(WrongValue {
                    key: "watch",
                    value: format!("`{}`", comm.escape_debug()),
                    right: "it takes processes' names, like kubelet".to_owned(),
                });
            }
        }
        if let Some(folder) = &self.pin
            && self.kernel_log == Some(true)
        {
            return Err(WrongValue {
                key: "pin",
                value: format!("`{}`", folder.display()),
                right: "the kernel program's log cannot be taken over; leave kernel-log away".to_owned(),
            });
        }
        if let Some(address) = self.metrics_listen
            && !address.ip().is_loopback()
        {
            return Err(WrongValue {
                key: "metrics-listen",
                value: address.to_string(),
                right: format!(
                    "metrics are served on a loopback address only, like 127.0.0.1:{} or [::1]:{}; put a proxy \
                     that authenticates before it to have them read from elsewhere",
                    address.port(),
                    address.port()
                ),
            });
        }
        Ok(())
    }
}

/// Reads an address, and says what one is.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an address and a port in digits are needed, like 127.0.0.1:9469 or [::1]:9469".to_owned()
    })
}

fn read_address<'de, D: serde::Deserializer<'de>>(reader: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(reader)?;
    address(&text).map(Some).map_err(serde::de::Error::custom)
}

fn within<T: PartialOrd + Display + Copy>(
    key: &'static str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> Result<(), WrongValue> {
    match value {
        Some(value) if !range.contains(&value) => Err(WrongValue {
            key,
            value: value.to_string(),
            right: format!("it takes {} to {}", range.start(), range.end()),
        }),
        _ => Ok(()),
    }
}
