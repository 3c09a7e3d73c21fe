//! Version, revision, architecture and time of a release.

use std::env::consts::ARCH;

use anyhow::{Result, bail};

pub struct Release {
    pub version: String,
    pub revision: String,
    /// The architecture, as rustc, rpm and uname name it.
    pub arch: &'static str,
    /// Seconds since 1970: the time of all files.
    pub epoch: u32,
}

impl Release {
    pub fn new(version: &str, revision: &str, epoch: u32) -> Result<Self> {
        if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
            bail!("invalid revision `{revision}`; expected letters, digits and dots");
        }
        Ok(Self { version: version.to_owned(), revision: revision.to_owned(), arch: ARCH, epoch })
    }

    /// The architecture, as Debian and OCI name it.
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

/// A one-line description of cgtrace.
pub const SUMMARY: &str = "eBPF-based cgroup lifecycle tracer";

/// The maintainer of the packages. Debian's policy demands an address of a valid form.
pub const MAINTAINER: &str = "The cgtrace authors <cgtrace@example.org>";

/// The long description.
pub const DESCRIPTION: &str = "cgtrace records exactly when and by which process a cgroup was created and removed, \
                               on every hierarchy (v1, hybrid, v2).";
