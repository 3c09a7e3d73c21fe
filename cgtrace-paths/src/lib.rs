//! What the name of a cgroup says: its unit and slice, its pod, its container. Pure.
//!
//! Only what the path proves is reported. Any bytes may be given: a name is what a user typed, or what a log or a
//! process's flags carried, and may be no cgroup's name at all.

mod ancestry;
mod container;
mod mounts;
mod pod;
mod relation;
mod spellings;
mod unit;

pub use container::Runtime;
pub use mounts::{Directory, MountPoint};
pub use pod::Qos;
pub use relation::{is_within, names_hierarchy};
pub use spellings::{Spelling, Variant, spellings};
pub use unit::{UNIT_TYPES, escape, expand_slice, is_unit, unescape};

use container::Container;
use pod::Pod;
use unit::Units;

/// What a name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Name {
    /// The name from its hierarchy's root: `/`, or `/` before each component. A mount point before it is taken
    /// off, and so are `.`, `..` and empty components.
    pub path: Vec<u8>,
    /// The mount point that was taken off.
    pub mount: Option<MountPoint>,
    /// The first component is what a v1 hierarchy's directory is called (`/systemd/system.slice`), so it may be
    /// no part of the name. It is left in `path`: a cgroup may be called so.
    pub directory: Option<Directory>,
    /// How many `..` it began with: it is relative to a cgroup namespace's root.
    pub upwards: usize,
    /// It did not begin with `/`.
    pub unrooted: bool,
    /// The unit of the system's service manager, unescaped: `kubelet.service`. No slice.
    pub unit: Option<String>,
    /// The unit of a user's service manager, which stands below `user@UID.service`.
    pub user_unit: Option<String>,
    /// The innermost slice of the system's service manager that it stands in, or is.
    pub slice: Option<String>,
    /// The pod's uid with `-`, or the hash of a static pod's manifest.
    pub pod_uid: Option<String>,
    /// The pod's class.
    pub qos: Option<Qos>,
    /// The innermost container: an id of 64 digits, or the name that its runtime uses.
    pub container_id: Option<String>,
    /// What runs the container.
    pub runtime: Option<Runtime>,
}

/// Reads a name. The usual mount points are known.
#[must_use]
pub fn parse(name: &[u8]) -> Name {
    parse_at(name, &[])
}

/// Reads a name, on a machine where cgroup file systems are mounted there.
#[must_use]
pub fn parse_at(name: &[u8], mounts: &[MountPoint]) -> Name {
    let (upwards, components) = mounts::components(name);
    let (mount, components) = mounts::strip(&components, mounts);
    let directory = mounts::directory(components);
    // In `/systemd/system.slice/x.service` the unit is as plain as without the directory.
    let inner = if directory.is_some() { components.get(1..).unwrap_or_default() } else { components };
    Name { path: join(components), mount, directory, upwards, unrooted: is_unrooted(name), ..of(inner) }
}

/// Reads the name of a cgroup that exists, from its hierarchy's root: a first component that is called like a mount
/// point or a hierarchy's directory is a cgroup of that name, and proves nothing.
#[must_use]
pub fn parse_exact(name: &[u8]) -> Name {
    let (_, components) = mounts::components(name);
    Name { path: join(&components), unrooted: is_unrooted(name), ..of(&components) }
}

fn is_unrooted(name: &[u8]) -> bool {
    name.first().is_some_and(|first| *first != b'/')
}

/// What components prove.
fn of(components: &[&[u8]]) -> Name {
    let Units { unit, user_unit, slice } = unit::read(components);
    let (Pod { uid: pod_uid, qos }, Container { id: container_id, runtime }) = ancestry::read(components);
    Name { unit, user_unit, slice, pod_uid, qos, container_id, runtime, ..Name::default() }
}

impl Name {
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

    /// The name that a process of this unit would have: its first 15 bytes, as the kernel keeps them.
    #[must_use]
    pub fn process_name(&self) -> Option<String> {
        let unit = self.user_unit.as_deref().or(self.unit.as_deref());
        let leaf = std::str::from_utf8(self.leaf()).ok();
        let stem = match unit {
            Some(unit) => unit.strip_suffix(".service")?,
            None if self.slice.is_some() || self.container_id.is_some() || self.pod_uid.is_some() => {
                return None;
            }
            None => leaf?,
        };
        // An instance's process is called as the template.
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

/// The bytes of an ASCII component; whatever systemd or a container runtime has named is ASCII.
fn ascii(component: &[u8]) -> Option<&str> {
    std::str::from_utf8(component).ok().filter(|text| text.is_ascii())
}
