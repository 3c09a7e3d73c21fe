//! Recognizes the programs that are a kubelet, or contain one.

/// A program that is a kubelet, or contains one. k0s and rke2 run a kubelet of their own, which is found as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `kubelet`, or `hyperkube kubelet`.
    Kubelet,
    /// `k3s server` or `k3s agent`. It overwrites its command line, so that only these two words remain.
    K3s,
    /// `kubelite` of microk8s, whose flags are in a file.
    Kubelite,
}

impl Program {
    /// The comms of these programs.
    pub(crate) const COMMS: [&str; 6] =
        ["kubelet", "hyperkube", "kubelite", "k3s", "k3s-server", "k3s-agent"];

    /// Recognizes a program by its comm and its command line.
    #[must_use]
    pub fn of(comm: &str, arguments: &[String]) -> Option<Self> {
        // A title that replaces the command line is one argument.
        let mut words = arguments.iter().flat_map(|argument| argument.split(' '));
        let program = words.next().and_then(|program| program.rsplit('/').next()).unwrap_or_default();
        let command = words.next().unwrap_or_default();
        let is = |name: &str| comm == name || program == name;
        match command {
            _ if is("kubelet") => Some(Self::Kubelet),
            _ if is("kubelite") => Some(Self::Kubelite),
            "kubelet" if is("hyperkube") => Some(Self::Kubelet),
            "server" | "agent" if is("k3s") || comm.starts_with("k3s-") => Some(Self::K3s),
            _ if program == "k3s-server" || program == "k3s-agent" => Some(Self::K3s),
            _ => None,
        }
    }

    /// Whether the flags of its command line are not kubelet's, except in `--kubelet-arg`.
    pub(crate) fn embeds(self) -> bool {
        self != Self::Kubelet
    }

    /// The units that usually run it.
    pub(crate) fn units(self) -> &'static [&'static str] {
        match self {
            Self::Kubelet => &["kubelet.service"],
            Self::K3s => &["k3s.service", "k3s-agent.service"],
            Self::Kubelite => &["snap.microk8s.daemon-kubelite.service"],
        }
    }

    /// All programs.
    pub(crate) const ALL: [Self; 3] = [Self::Kubelet, Self::K3s, Self::Kubelite];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_recognized_by_name_and_command() {
        let of = |comm: &str, line: &str| {
            let arguments: Vec<String> = line.split('|').map(str::to_owned).collect();
            Program::of(comm, &arguments)
        };
        assert_eq!(of("kubelet", "/usr/bin/kubelet|--v=2"), Some(Program::Kubelet));
        assert_eq!(of("kubelet-1.35", "/opt/kubelet"), Some(Program::Kubelet));
        assert_eq!(of("hyperkube", "/hyperkube|kubelet|--v=2"), Some(Program::Kubelet));
        assert_eq!(of("hyperkube", "/hyperkube|apiserver"), None);
        assert_eq!(of("k3s-server", "/usr/local/bin/k3s server"), Some(Program::K3s));
        assert_eq!(of("k3s", "/usr/local/bin/k3s|agent|--kubelet-arg=v=2"), Some(Program::K3s));
        assert_eq!(of("k3s", "/usr/local/bin/k3s|kubectl|get|nodes"), None);
        assert_eq!(
            of("kubelite", "/snap/microk8s/1/kubelite|--kubelet-args-file=/x"),
            Some(Program::Kubelite)
        );
        assert_eq!(of("k0s", "/usr/local/bin/k0s|worker"), None);
        assert_eq!(of("", ""), None);
    }
}
