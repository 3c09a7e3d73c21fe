//! Parses cgroup paths: the unit, slice, pod and container that a path names. Performs no I/O.
//!
//! Only what the path proves is reported. Any bytes are accepted: a path may come from a user, a log or a
//! process's arguments, and need not be the path of a cgroup.

mod ancestry;
mod container;
mod mention;
mod mounts;
mod pod;
mod relation;
mod spellings;
mod unit;

pub use container::Runtime;
pub use mention::{MAX_MENTIONS, Mention, Target, container_in, mentions};
pub use mounts::{Directory, MountPoint};
pub use pod::Qos;
pub use relation::{is_within, names_hierarchy};
pub use spellings::{Spelling, Variant, spellings};
pub use unit::{UNIT_TYPES, escape, expand_slice, is_unit, unescape};

use container::Container;
use pod::Pod;
use unit::Units;

/// A parsed cgroup path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedPath {
    /// The path from the hierarchy's root: `/`, or `/` before each component, without a leading mount point,
    /// and without `.`, `..` and empty components.
    pub path: Vec<u8>,
    /// The mount point that was removed.
    pub mount: Option<MountPoint>,
    /// Set if the first component is the name of a v1 hierarchy's directory (`/systemd/system.slice`), and
    /// may not be part of the path. It remains in `path`, because a cgroup can have this name.
    pub directory: Option<Directory>,
    /// The number of leading `..`, which make it relative to a cgroup namespace's root.
    pub upwards: usize,
    /// Whether it lacked the leading `/`.
    pub relative: bool,
    /// The unit of the system manager, unescaped: `kubelet.service`. Not a slice.
    pub unit: Option<String>,
    /// The unit of a user manager, below `user@UID.service`.
    pub user_unit: Option<String>,
    /// The innermost slice of the system manager that contains it, or that it is.
    pub slice: Option<String>,
    /// The pod's UID with `-`, or the hash of a static pod's manifest.
    pub pod_uid: Option<String>,
    /// The pod's `QoS` class.
    pub qos: Option<Qos>,
    /// The innermost container: an id of 64 hex digits, or the runtime's name for it.
    pub container_id: Option<String>,
    /// The runtime of the container.
    pub runtime: Option<Runtime>,
}

/// Parses a path that may begin with one of the usual mount points.
#[must_use]
pub fn parse(path: &[u8]) -> ParsedPath {
    parse_at(path, &[])
}

/// Parses a path that may begin with one of the usual mount points or of `mounts`.
#[must_use]
pub fn parse_at(path: &[u8], mounts: &[MountPoint]) -> ParsedPath {
    let (upwards, components) = mounts::components(path);
    let (mount, components) = mounts::strip(&components, mounts);
    let directory = mounts::directory(components);
    // The directory in `/systemd/system.slice/x.service` does not hide the unit.
    let inner = if directory.is_some() { components.get(1..).unwrap_or_default() } else { components };
    ParsedPath { path: join(components), mount, directory, upwards, relative: is_relative(path), ..of(inner) }
}

/// Parses the path of an existing cgroup from its hierarchy's root: a first component that looks like a mount
/// point or a hierarchy's directory is a cgroup with that name.
#[must_use]
pub fn parse_exact(path: &[u8]) -> ParsedPath {
    let (_, components) = mounts::components(path);
    ParsedPath { path: join(&components), relative: is_relative(path), ..of(&components) }
}

fn is_relative(path: &[u8]) -> bool {
    path.first().is_some_and(|first| *first != b'/')
}

/// What the components prove.
fn of(components: &[&[u8]]) -> ParsedPath {
    let Units { unit, user_unit, slice } = unit::read(components);
    let (Pod { uid: pod_uid, qos }, Container { id: container_id, runtime }) = ancestry::read(components);
    ParsedPath { unit, user_unit, slice, pod_uid, qos, container_id, runtime, ..ParsedPath::default() }
}

impl ParsedPath {
    /// The components of the path.
    #[must_use]
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.path.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// The last component; empty for a root.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.components().next_back().unwrap_or_default()
    }

    /// The path without a hierarchy's directory, if it has one.
    #[must_use]
    pub fn without_directory(&self) -> &[u8] {
        self.directory.as_ref().map_or(&self.path, |directory| &directory.rest)
    }

    /// The comm that a process of this unit would have: at most 15 bytes, as in the kernel.
    #[must_use]
    pub fn expected_comm(&self) -> Option<String> {
        let unit = self.user_unit.as_deref().or(self.unit.as_deref());
        let leaf = std::str::from_utf8(self.leaf()).ok();
        let stem = match unit {
            Some(unit) => unit.strip_suffix(".service")?,
            None if self.slice.is_some() || self.container_id.is_some() || self.pod_uid.is_some() => {
                return None;
            }
            None => leaf?,
        };
        // A process of an instance is named after the template.
        let stem = stem.split('@').next().unwrap_or(stem);
        let stem: String = unescape(stem).chars().take_while(|character| *character != '/').collect();
        let end = stem
            .char_indices()
            .map(|(at, character)| at + character.len_utf8())
            .take_while(|end| *end <= 15)
            .last()?;
        stem.get(..end).map(str::to_owned)
    }
}

/// Components as a path.
fn join(components: &[&[u8]]) -> Vec<u8> {
    let mut path = Vec::with_capacity(components.iter().map(|component| component.len() + 1).sum());
    for component in components {
        path.push(b'/');
        path.extend_from_slice(component);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

/// The text of an ASCII component. The names that systemd and container runtimes assign are ASCII.
fn ascii(component: &[u8]) -> Option<&str> {
    std::str::from_utf8(component).ok().filter(|text| text.is_ascii())
}
