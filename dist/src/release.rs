//! What is packed: version, revision, machine, time.

use std::env::consts::ARCH;

use anyhow::{Result, bail};

pub struct Release {
    pub version: String,
    pub revision: String,
    /// The machine, as rustc, rpm and uname name it.
    pub arch: &'static str,
    /// Seconds since 1970: the time of all that is packed.
    pub epoch: u32,
}

impl Release {
    pub fn new(version: &str, revision: &str, epoch: u32) -> Result<Self> {
        if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
            bail!("the revision `{revision}` has other than letters, digits and dots");
        }
        Ok(Self { version: version.to_owned(), revision: revision.to_owned(), arch: ARCH, epoch })
    }

    /// As Debian and OCI name the machine.
    pub fn debian_arch(&self) -> &'static str {
        match self.arch {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }
    }

    pub fn name(&self) -> String {
        format!("cgtrace-{}-{}-linux", self.version, self.arch)
    }

    pub fn file(&self, extension: &str) -> String {
        format!("{}.{extension}", self.name())
    }
}

/// One line on what cgtrace is.
pub const SUMMARY: &str = "eBPF-based cgroup lifecycle tracer";

/// The rest of it.
pub const DESCRIPTION: &str = "cgtrace knows exactly when a cgroup exists: since when, made by whom, gone when, \
                               on every hierarchy (v1, hybrid, v2).";
