//! How a text was resolved, for people and in JSON.

use cgtrace_client::paths;
use serde::{Deserialize, Serialize};

/// The most bytes of a text that are repeated.
const MAX_GIVEN: usize = 120;

/// How a text was resolved to the path of a cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Resolution {
    /// The text as given, or the part of it that names the cgroup.
    pub given: String,
    /// The path.
    pub path: String,
    /// The bytes of the path in hexadecimal, if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_hex: Option<String>,
    /// Whether no cgroup of that name is known, so that the path is where the service manager would place it.
    pub assumed: bool,
    /// Other cgroups with that name, deeper in the hierarchy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// How often a log mentions it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mentions: Option<u64>,
    /// The line of a log that mentions it first, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

impl Resolution {
    pub(super) fn new(given: &[u8], path: &[u8], also: &[Vec<u8>], assumed: bool) -> Self {
        let (text, path_hex) = paths::as_text(path);
        let cut = given.get(..MAX_GIVEN).filter(|cut| cut.len() < given.len());
        let given = match cut {
            Some(cut) => format!("{}…", String::from_utf8_lossy(cut)),
            None => paths::as_text(given).0,
        };
        Self {
            given,
            path: text,
            path_hex,
            assumed,
            also: also.iter().map(|path| paths::as_text(path).0).collect(),
            ..Self::default()
        }
    }

    /// This resolution of a name that a log mentions.
    pub(super) fn in_log(self, mentions: u64, line: u64) -> Self {
        Self { mentions: Some(mentions), line: Some(line), ..self }
    }

    /// `kubelet → /system.slice/kubelet.service`, escaped for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        let escape = |text: &str| paths::escape(text.as_bytes());
        let mut text = escape(&self.path);
        if self.given != self.path {
            text = format!("{} → {text}", escape(&self.given));
        }
        if self.assumed {
            text.push_str(" (no cgroup of that name was seen; this is where systemd would place it)");
        }
        if !self.also.is_empty() {
            let also: Vec<String> = self.also.iter().map(|path| escape(path)).collect();
            text.push_str(&format!(" (also: {})", also.join(", ")));
        }
        match (self.mentions, self.line) {
            (Some(1), Some(line)) => text.push_str(&format!(" (mentioned in line {line})")),
            (Some(mentions), Some(line)) => {
                text.push_str(&format!(" (mentioned {mentions} times, first in line {line})"));
            }
            _ => {}
        }
        text
    }
}

/// A document that a command prints, with how the text that it was given was resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WithResolution<T> {
    /// The document.
    #[serde(flatten)]
    pub document: T,
    /// How the text that was given was resolved; absent if it was the path itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
}
