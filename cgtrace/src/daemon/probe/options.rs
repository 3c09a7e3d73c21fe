//! Options of the probe.

use std::path::PathBuf;

use cgtrace_host::process::padded_comm;

/// The comms that are tracked by default: kubelet, container runtimes and their managers.
pub const TRACKED_COMMS: [&str; 8] =
    ["kubelet", "containerd", "dockerd", "crio", "cri-dockerd", "k3s", "rke2", "podman"];

/// Options of the probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of the lifecycle ring; rounded up to a power of two of whole pages.
    pub lifecycle_ring_bytes: u32,
    /// The size of the activity ring; rounded up likewise.
    pub activity_ring_bytes: u32,
    /// The comms whose execs are recorded, NUL-padded. If empty, the exec hook is not attached.
    pub tracked: Vec<[u8; 16]>,
    /// Whether the kernel program logs anomalies. If not, the verifier removes the logging code.
    pub kernel_log: bool,
    /// The file of the kernel's BTF.
    pub btf: PathBuf,
    /// The directory in a BPF file system where everything is pinned, so that the program continues to record
    /// without a daemon and the next daemon takes over. The program's log cannot be taken over.
    pub pin: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lifecycle_ring_bytes: 8 << 20,
            activity_ring_bytes: 8 << 20,
            tracked: TRACKED_COMMS.iter().map(|comm| padded_comm(comm.as_bytes())).collect(),
            kernel_log: false,
            btf: PathBuf::from("/sys/kernel/btf/vmlinux"),
            pin: None,
        }
    }
}
