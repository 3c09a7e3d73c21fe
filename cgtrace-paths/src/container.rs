//! Containers, in the spellings of those who run them.

use super::unescape;

/// What runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd, by its CRI plugin or nerdctl.
    Containerd,
    /// CRI-O.
    Crio,
    /// Podman.
    Podman,
    /// LXC, LXD, Incus.
    Lxc,
    /// systemd-nspawn, and what else registers a machine without saying what it is.
    Nspawn,
    /// libvirt: a virtual machine, or an LXC container of libvirt's.
    Libvirt,
}

impl Runtime {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::Nspawn => "systemd-nspawn",
            Self::Libvirt => "libvirt",
        }
    }
}

/// What is proven of a container.
#[derive(Debug, Default)]
pub(super) struct Container {
    pub id: Option<String>,
    pub runtime: Option<Runtime>,
}

/// What stands before an id, with `.scope` behind it (systemd driver) or without (cgroupfs driver).
const PREFIXES: [(&str, Runtime); 5] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::Crio),
    ("libpod-", Runtime::Podman),
];

/// Those that watch over a container from a cgroup beside it; that one's processes are not the container's.
const MONITORS: [(&str, Runtime); 3] =
    [("crio-conmon-", Runtime::Crio), ("libpod-conmon-", Runtime::Podman), ("lxc.monitor.", Runtime::Lxc)];

/// The container that a component's name says, or the one that it watches over.
pub(super) fn of(text: &str, parent: Option<&str>) -> Option<Container> {
    let proven = |id: &str, runtime| Some(Container { id: Some(id.to_owned()), runtime });
    if let Some((_, runtime)) = MONITORS.iter().find(|(prefix, _)| text.starts_with(prefix)) {
        return Some(Container { id: None, runtime: Some(*runtime) });
    }
    if is_id(text) {
        return proven(text, (parent == Some("docker")).then_some(Runtime::Docker));
    }
    let stem = text.strip_suffix(".scope").unwrap_or(text);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = stem.strip_prefix(prefix).filter(|id| is_id(id)) {
            return proven(id, Some(runtime));
        }
    }
    if let Some(machine) = text.strip_suffix(".scope").and_then(|stem| stem.strip_prefix("machine-")) {
        return of_machine(machine);
    }
    if let Some(instance) =
        text.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"))
    {
        return (!instance.is_empty())
            .then(|| Container { id: Some(unescape(instance)), runtime: Some(Runtime::Nspawn) });
    }
    let lxc = text.strip_prefix("lxc.payload.").or(match parent {
        Some("lxc" | "lxc.payload") => Some(text),
        _ => None,
    });
    lxc.filter(|name| !name.is_empty()).and_then(|name| proven(name, Some(Runtime::Lxc)))
}

/// `machine-NAME.scope`, as machined makes it; libvirt's names begin with its driver and a number.
fn of_machine(escaped: &str) -> Option<Container> {
    let name = unescape(escaped);
    let runtime = if ["qemu-", "lxc-"].iter().any(|driver| {
        let rest = name.strip_prefix(driver).and_then(|rest| rest.split_once('-'));
        rest.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    }) {
        Runtime::Libvirt
    } else {
        Runtime::Nspawn
    };
    (!name.is_empty()).then_some(Container { id: Some(name), runtime: Some(runtime) })
}

/// 64 lower-case digits: what Docker, containerd's CRI plugin, CRI-O and Podman give.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
