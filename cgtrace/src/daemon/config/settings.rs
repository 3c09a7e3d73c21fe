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
    /// Bytes of one call [default: 1048576]
    #[arg(long, value_name = "BYTES", help_heading = BOUNDS)]
    pub message_bytes: Option<usize>,
    /// Names and ids of one Lookup [default: 10000]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub names_per_lookup: Option<usize>,
    /// Patterns of one List or Watch [default: 1000]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub patterns_per_call: Option<usize>,
    /// Processes that one row of a detailed Lookup describes [default: 256]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub members_per_row: Option<usize>,
    /// Connections at a time [default: 16384]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub connections: Option<usize>,
    /// Connections of one uid at a time, root's excepted [default: 1024]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub connections_per_uid: Option<usize>,
    /// Await calls that wait at a time [default: 65536]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub waiters: Option<usize>,
    /// Watch calls that follow at a time [default: 4096]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub subscriptions: Option<usize>,
    /// Events that wait for one subscriber before it misses some [default: 32768]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub queue_events: Option<usize>,
    /// Events kept for those who come back with a sequence number [default: 8192]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub history_events: Option<usize>,
    /// Names whose past lives are kept, over all hierarchies; 0: no past at all [default: 65536]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub past_names: Option<usize>,
    /// Past lives kept of one name; 0: no past at all [default: 8]
    #[arg(long, value_name = "N", help_heading = BOUNDS)]
    pub past_lives: Option<usize>,
    /// Bytes of answers that clients have been given and not read, all together [default: 268435456]
    #[arg(long, value_name = "BYTES", help_heading = BOUNDS)]
    pub reply_bytes: Option<usize>,
}

const BOUNDS: &str = "Bounds";

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
            message_bytes: self.message_bytes.or(other.message_bytes),
            names_per_lookup: self.names_per_lookup.or(other.names_per_lookup),
            patterns_per_call: self.patterns_per_call.or(other.patterns_per_call),
            members_per_row: self.members_per_row.or(other.members_per_row),
            connections: self.connections.or(other.connections),
            connections_per_uid: self.connections_per_uid.or(other.connections_per_uid),
            waiters: self.waiters.or(other.waiters),
            subscriptions: self.subscriptions.or(other.subscriptions),
            queue_events: self.queue_events.or(other.queue_events),
            history_events: self.history_events.or(other.history_events),
            past_names: self.past_names.or(other.past_names),
            past_lives: self.past_lives.or(other.past_lives),
            reply_bytes: self.reply_bytes.or(other.reply_bytes),
        }
    }

    /// Whether every value can be.
    pub fn check(&self) -> Result<(), WrongValue> {
        within("index-ring", self.index_ring, 1..=1024)?;
        within("told-ring", self.told_ring, 1..=1024)?;
        within("message-bytes", self.message_bytes, 4_096..=64 << 20)?;
        within("names-per-lookup", self.names_per_lookup, 1..=1_000_000)?;
        within("patterns-per-call", self.patterns_per_call, 1..=100_000)?;
        within("members-per-row", self.members_per_row, 0..=1_000_000)?;
        within("connections", self.connections, 1..=1_000_000)?;
        within("connections-per-uid", self.connections_per_uid, 1..=1_000_000)?;
        within("waiters", self.waiters, 1..=1_000_000)?;
        within("subscriptions", self.subscriptions, 1..=1_000_000)?;
        within("queue-events", self.queue_events, 1..=16_777_216)?;
        within("history-events", self.history_events, 0..=16_777_216)?;
        within("past-names", self.past_names, 0..=16_777_216)?;
        within("past-lives", self.past_lives, 0..=65_536)?;
        within("reply-bytes", self.reply_bytes, 1 << 20..=1 << 40)?;
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
