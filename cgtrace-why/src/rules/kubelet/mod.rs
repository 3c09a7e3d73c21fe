//! The cgroup settings of kubelet and cAdvisor, from command lines and configuration files, and the rules about
//! them. Pure.

mod document;
mod findings;
mod flags;
mod names;
mod program;

use std::collections::BTreeMap;

use serde_json::Value;

pub use document::Document;
pub(super) use findings::{cgroup_v1_unsupported, invalid_setting, required_by_observer, stats_from_cri};
pub use flags::Arguments;
pub(crate) use names::slice_path;
pub use program::Program;

/// A setting and where it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// The flag or configuration line: `--kubelet-cgroups=/x`, or `kubeletCgroups: /x`.
    pub source: String,
    /// Its value.
    pub value: String,
    /// Whether it is only a part of another flag's value, so that the process does not see it.
    pub is_hidden: bool,
}

/// The relevant flags of kubelet and cAdvisor, with their keys in kubelet's configuration file. `failCgroupV1` has
/// no flag.
const FLAGS: [(&str, Option<&str>); 15] = [
    ("kubelet-cgroups", Some("kubeletCgroups")),
    ("runtime-cgroups", None),
    ("system-cgroups", Some("systemCgroups")),
    ("cgroup-root", Some("cgroupRoot")),
    ("cgroup-driver", Some("cgroupDriver")),
    ("cgroups-per-qos", Some("cgroupsPerQOS")),
    ("kube-reserved-cgroup", Some("kubeReservedCgroup")),
    ("system-reserved-cgroup", Some("systemReservedCgroup")),
    ("enforce-node-allocatable", Some("enforceNodeAllocatable")),
    ("feature-gates", Some("featureGates")),
    ("fail-cgroup-v1", Some("failCgroupV1")),
    ("config", None),
    ("config-dir", None),
    ("docker-only", None),
    ("raw-cgroup-prefix-whitelist", None),
];

/// The flags that name a cgroup which is expected to exist.
const PATHS: [&str; 4] = ["kubelet-cgroups", "runtime-cgroups", "system-cgroups", "cgroup-root"];

/// The reserved cgroups, with the word in `enforceNodeAllocatable` that makes kubelet look them up.
const RESERVED: [(&str, &str); 2] =
    [("kube-reserved-cgroup", "kube-reserved"), ("system-reserved-cgroup", "system-reserved")];

/// The cgroup settings of kubelet or cAdvisor, by flag name (with `-`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    settings: BTreeMap<&'static str, Setting>,
    /// The flags that are part of another one's value.
    hidden: Vec<(&'static str, Setting)>,
}

/// A path that an observer looks up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedPath {
    /// The path.
    pub path: String,
    /// The flag (without `--`) and the setting that names it; without, it is kubelet's default.
    pub setting: Option<(&'static str, Setting)>,
    /// Whether it is that of a running process, which is known without its settings.
    pub is_own: bool,
}

impl Settings {
    /// Reads the settings as kubelet does: later files override earlier ones, and later words earlier ones; flags
    /// override files.
    #[must_use]
    pub fn read(arguments: &[Arguments], documents: &[Document]) -> Self {
        let (mut flags, mut hidden) = (BTreeMap::new(), Vec::new());
        for arguments in arguments {
            arguments.read(&mut flags, &mut hidden);
        }
        let mut keys: BTreeMap<&str, (Value, Option<&str>)> = BTreeMap::new();
        for document in documents {
            for (key, patch) in &document.keys {
                let before = keys.remove(key.as_str()).map(|(value, _)| value);
                if let Some(value) = document::merge(before, patch) {
                    keys.insert(key, (value, document.file.as_deref()));
                }
            }
        }
        let mut settings = BTreeMap::new();
        for (flag, key) in FLAGS {
            let of_file = key.and_then(|key| {
                let (value, file) = keys.get(key)?;
                let value = document::text(value);
                let file = file.map(|file| format!(" (in {file})")).unwrap_or_default();
                Some(Setting { source: format!("{key}: {value}{file}"), value, is_hidden: false })
            });
            let setting = flags.remove(flag).or(of_file).filter(|setting| !setting.value.is_empty());
            settings.extend(setting.map(|setting| (flag, setting)));
        }
        let known = |name: &str| FLAGS.into_iter().map(|(flag, _)| flag).find(|flag| *flag == name);
        let hidden =
            hidden.into_iter().filter_map(|(name, setting)| Some((known(&name)?, setting))).collect();
        Self { settings, hidden }
    }

    /// Reads a command line, without files.
    #[must_use]
    pub fn of_command_line(arguments: &[String]) -> Self {
        let words = arguments.iter().skip(1).cloned().collect();
        Self::read(&[Arguments { words, ..Arguments::default() }], &[])
    }

    /// The setting of a flag or its configuration key.
    #[must_use]
    pub fn get(&self, flag: &str) -> Option<&Setting> {
        self.settings.get(flag)
    }

    /// The setting of a switch, if it has that value.
    #[must_use]
    pub fn switched(&self, flag: &str, on: bool) -> Option<&Setting> {
        self.get(flag).filter(|setting| boolean(&setting.value) == Some(on))
    }

    /// The setting that turns a feature gate on.
    #[must_use]
    pub fn gate(&self, name: &str) -> Option<&Setting> {
        let setting = self.get("feature-gates")?;
        let mut gates = setting.value.split(',').filter_map(|gate| gate.split_once('='));
        let last = gates.rfind(|(gate, _)| gate.trim() == name)?;
        (boolean(last.1.trim()) == Some(true)).then_some(setting)
    }

    /// The settings whose cgroups are expected to exist.
    pub fn paths(&self) -> impl Iterator<Item = &Setting> {
        PATHS.into_iter().filter_map(|flag| self.get(flag))
    }

    /// The setting that makes kubelet refuse to start without this reserved cgroup.
    #[must_use]
    pub fn enforced(&self, flag: &str) -> Option<&Setting> {
        let (_, word) = RESERVED.into_iter().find(|(reserved, _)| *reserved == flag)?;
        let words = self.get("enforce-node-allocatable")?;
        // Also `kube-reserved-compressible`, which only sets the CPU's weight.
        let names_it = |other: &str| other == word || other.strip_suffix("-compressible") == Some(word);
        words.value.split(',').map(str::trim).any(names_it).then_some(words)
    }

    /// The paths that the observer looks up, with the setting that names each. Without a setting, kubelet looks up
    /// its own cgroup (`own`) and that of its pods.
    #[must_use]
    pub fn observed_paths(&self, is_kubelet: bool, own: Option<&str>) -> Vec<ObservedPath> {
        let mut observed: Vec<ObservedPath> = Vec::new();
        let flags = PATHS.into_iter().chain(RESERVED.into_iter().map(|(flag, _)| flag));
        let configured = flags.filter_map(|flag| {
            let setting = self.get(flag)?;
            let path = match flag {
                "cgroup-root" => self.root(),
                "kube-reserved-cgroup" | "system-reserved-cgroup" => {
                    self.enforced(flag)?;
                    if self.is_systemd() {
                        names::reserved_slice(&setting.value)
                    } else {
                        setting.value.clone()
                    }
                }
                _ => setting.value.clone(),
            };
            Some(ObservedPath { path, setting: Some((flag, setting.clone())), is_own: false })
        });
        let hidden = self.hidden.iter().filter(|(flag, _)| PATHS.contains(flag));
        let hidden = hidden.map(|(flag, setting)| ObservedPath {
            path: setting.value.clone(),
            setting: Some((flag, setting.clone())),
            is_own: false,
        });
        let own = own.filter(|_| is_kubelet && self.get("kubelet-cgroups").is_none());
        let own = own.map(|path| ObservedPath { path: path.to_owned(), setting: None, is_own: true });
        let pods = (is_kubelet && self.switched("cgroups-per-qos", false).is_none()).then(|| self.pods());
        let pods = pods.map(|path| ObservedPath { path, ..ObservedPath::default() });
        for observation in configured.chain(hidden).chain(own).chain(pods) {
            // The root always exists.
            if observation.path != "/" && !observed.iter().any(|known| known.path == observation.path) {
                observed.push(observation);
            }
        }
        observed
    }

    fn is_systemd(&self) -> bool {
        self.get("cgroup-driver").is_some_and(|driver| driver.value == "systemd")
    }

    /// The cgroup of `cgroupRoot`, as kubelet's cgroup driver names it.
    fn root(&self) -> String {
        let root = self.get("cgroup-root").map_or("", |root| root.value.trim_end_matches('/'));
        if self.is_systemd() {
            names::nested_slices(root)
        } else if root.is_empty() {
            "/".to_owned()
        } else {
            root.to_owned()
        }
    }

    /// The cgroup of all pods, as kubelet's cgroup driver names it.
    fn pods(&self) -> String {
        self.pods_of(self.is_systemd())
    }

    /// The cgroup of all pods, as the other cgroup driver names it. Since Kubernetes 1.36 the container runtime
    /// selects the driver, whatever the configuration says.
    pub(crate) fn pods_of_other_driver(&self) -> String {
        self.pods_of(!self.is_systemd())
    }

    fn pods_of(&self, systemd: bool) -> String {
        let root = self.get("cgroup-root").map_or("", |root| root.value.trim_end_matches('/'));
        let path = format!("{root}/kubepods");
        if systemd { names::nested_slices(&path) } else { path }
    }
}

/// Parses a boolean like Go's `strconv.ParseBool`.
fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
