//! How the probe is started.

use std::path::PathBuf;

use cgtrace_host::process::padded_comm;

/// The comms that are tracked unless others are named: kubelet, what runs its containers, and who else does.
pub const TRACKED_COMMS: [&str; 8] =
    ["kubelet", "containerd", "dockerd", "crio", "cri-dockerd", "k3s", "rke2", "podman"];

/// How the probe is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The size of the ring of what the index must know; rounded up to a power of two of whole pages.
    pub lifecycle_ring_bytes: u32,
    /// The size of the ring of what is only told; rounded up likewise.
    pub activity_ring_bytes: u32,
    /// The comms whose execs are told of, NUL-padded. Without any, the exec hook is not attached.
    pub tracked: Vec<[u8; 16]>,
    /// Whether the program's own anomalies are logged. Off, the verifier removes the logging altogether.
    pub kernel_log: bool,
    /// Where the kernel's BTF is read from.
    pub btf: PathBuf,
    /// The folder of a BPF file system where everything is pinned, so that the program goes on recording without
    /// a daemon and the next one takes over. The program's log cannot be taken over.
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
