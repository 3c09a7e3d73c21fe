//! What can be set. One description serves the file and the command line, so that every key is also a flag.

use std::{net::SocketAddr, path::PathBuf};

use cgtrace_client::RuntimeDir;
use clap::Args;
use serde::Deserialize;

use super::{
    limits::LimitSettings,
    value::{WrongValue, within},
};
use crate::daemon::probe::PIN_FOLDER;

/// Everything that can be set; what is absent has its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Settings {
    /// The directory of both sockets; on the command line it is the global `--runtime-dir`.
    #[arg(skip)]
    pub runtime_dir: Option<PathBuf>,
    /// Keep who executes under this name (its comm: at most 15 bytes), when, where and started by whom, instead of
    /// kubelet and the container runtimes; may be repeated
    #[arg(long, value_name = "COMM")]
    pub track_exec: Option<Vec<String>>,
    /// The ring of what the index must know, in MiB [default: 8]
    #[arg(long, value_name = "MIB")]
    pub lifecycle_ring: Option<u32>,
    /// The ring of what is only told, in MiB [default: 8]
    #[arg(long, value_name = "MIB")]
    pub activity_ring: Option<u32>,
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
    /// The limits, which the file has among the other keys.
    #[command(flatten)]
    #[serde(skip)]
    pub limits: LimitSettings,
}

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

    /// Reads a file's text, without a check of its keys and values. It is read twice rather than with `serde(flatten)`, which loses the places of mistakes.
    pub fn of_toml(text: &str) -> Result<Self, toml::de::Error> {
        Ok(Self { limits: toml::from_str(text)?, ..toml::from_str(text)? })
    }

    /// Whether every value can be.
    pub fn check(&self) -> Result<(), WrongValue> {
        within("lifecycle-ring", self.lifecycle_ring, 1..=1024)?;
        within("activity-ring", self.activity_ring, 1..=1024)?;
        self.limits.check()?;
        for (key, path, like) in [
            ("runtime-dir", &self.runtime_dir, RuntimeDir::DEFAULT),
            ("btf", &self.btf, "/sys/kernel/btf/vmlinux"),
            ("pin", &self.pin, PIN_FOLDER),
        ] {
            if path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
                return Err(WrongValue::new(key, "empty", format!("it takes a path, like {like}")));
            }
        }
        for comm in self.track_exec.iter().flatten() {
            if comm.is_empty() || comm.contains('\0') {
                let value = format!("`{}`", comm.escape_debug());
                return Err(WrongValue::new("track-exec", value, "it takes processes' names, like kubelet"));
            }
        }
        if let Some(folder) = &self.pin
            && self.kernel_log == Some(true)
        {
            let right = "the kernel program's log cannot be taken over; leave kernel-log away";
            return Err(WrongValue::new("pin", format!("`{}`", folder.display()), right));
        }
        if let Some(address) = self.metrics_listen
            && !address.ip().is_loopback()
        {
            let right = format!(
                "metrics are served on a loopback address only, like 127.0.0.1:{port} or [::1]:{port}; put a proxy \
                 that authenticates before it to have them read from elsewhere",
                port = address.port()
            );
            return Err(WrongValue::new("metrics-listen", address, right));
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
