//! Recognises the cgroup names of container runtimes.

use super::unescape;

/// A container runtime.
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
    /// systemd-nspawn, or another program that registers a machine.
    Nspawn,
    /// libvirt: a virtual machine or an LXC container.
    Libvirt,
}

impl Runtime {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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

/// What a path proves about a container.
#[derive(Debug, Default)]
pub(super) struct Container {
    pub id: Option<String>,
    pub runtime: Option<Runtime>,
}

/// Prefixes of ids, which are followed by `.scope` (systemd driver) or not (cgroupfs driver).
const PREFIXES: [(&str, Runtime); 5] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::Crio),
    ("libpod-", Runtime::Podman),
];

/// Monitors, which run in a cgroup next to the container's; their processes are not part of the container.
const MONITORS: [(&str, Runtime); 3] =
    [("crio-conmon-", Runtime::Crio), ("libpod-conmon-", Runtime::Podman), ("lxc.monitor.", Runtime::Lxc)];

/// The container that a component names. For a monitor, only the runtime is known.
pub(super) fn of(text: &str, parent: Option<&str>) -> Option<Container> {
    let proven = |id: &str, runtime| {
        let id = Some(id.to_owned()).filter(|id| !id.is_empty())?;
        Some(Container { id: Some(id), runtime })
    };
    let scope = text.strip_suffix(".scope");
    if let [_, prefix, id] = text.split(':').collect::<Vec<_>>()[..]
        && is_id(id)
    {
        // A cgroupfs driver that was given the path for a systemd driver: `kubepods.slice:cri-containerd:ID`.
        let known = PREFIXES.iter().find(|(known, _)| known.strip_suffix('-') == Some(prefix));
        return proven(id, known.map(|(_, runtime)| *runtime));
    }
    if let Some((_, runtime)) = MONITORS.iter().find(|(prefix, _)| text.starts_with(prefix)) {
        return Some(Container { id: None, runtime: Some(*runtime) });
    }
    if is_id(text) {
        let runtime = match parent {
            Some("docker") => Some(Runtime::Docker),
            Some("lxc" | "lxc.payload") => Some(Runtime::Lxc),
            _ => None,
        };
        return proven(text, runtime);
    }
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = scope.unwrap_or(text).strip_prefix(prefix).filter(|id| is_id(id)) {
            return proven(id, Some(runtime));
        }
    }
    if let Some(machine) = scope.and_then(|stem| stem.strip_prefix("machine-")) {
        let name = unescape(machine);
        let runtime = if is_libvirt(&name) { Runtime::Libvirt } else { Runtime::Nspawn };
        return proven(&name, Some(runtime));
    }
    if let Some(instance) =
        text.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"))
    {
        return proven(&unescape(instance), Some(Runtime::Nspawn));
    }
    let in_lxc = matches!(parent, Some("lxc" | "lxc.payload"));
    let name = text.strip_prefix("lxc.payload.").or(in_lxc.then_some(text))?;
    proven(name, Some(Runtime::Lxc))
}

/// Whether a machine's name begins with a libvirt driver and a number.
fn is_libvirt(machine: &str) -> bool {
    let rest = machine.strip_prefix("qemu-").or(machine.strip_prefix("lxc-"));
    let number = rest.and_then(|rest| rest.split_once('-')).map_or("", |(number, _)| number);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it is 64 lower-case hex digits: an id of Docker, containerd's CRI plugin, CRI-O or Podman.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
