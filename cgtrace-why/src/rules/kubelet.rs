//! The cgroup settings in an observer's command line and configuration. Pure.

use std::collections::BTreeMap;

use crate::facts::Observer;

/// A setting and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The flag or configuration line: `--kubelet-cgroups=/x`, or `kubeletCgroups: /x`.
    pub source: String,
    /// Its value.
    pub value: String,
}

/// The relevant flags of kubelet and cAdvisor, with their keys in kubelet's configuration file.
const FLAGS: [(&str, Option<&str>); 9] = [
    ("kubelet-cgroups", Some("kubeletCgroups")),
    ("runtime-cgroups", None),
    ("system-cgroups", Some("systemCgroups")),
    ("cgroup-root", Some("cgroupRoot")),
    ("cgroup-driver", Some("cgroupDriver")),
    ("cgroups-per-qos", Some("cgroupsPerQOS")),
    ("config", None),
    ("docker-only", None),
    ("raw-cgroup-prefix-whitelist", None),
];

/// The flags that name a cgroup which is expected to exist.
const PATHS: [&str; 4] = ["kubelet-cgroups", "runtime-cgroups", "system-cgroups", "cgroup-root"];

/// The cgroup settings of kubelet or cAdvisor, by flag name (with `-`). Flags override the configuration
/// file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Setting>);

impl Settings {
    /// The settings of an observer.
    #[must_use]
    pub fn of(observer: &Observer) -> Self {
        Self::read(&observer.arguments, observer.config.as_deref())
    }

    /// Reads the settings from a command line and a configuration file (YAML or JSON).
    #[must_use]
    pub fn read(arguments: &[String], config: Option<&str>) -> Self {
        let mut flags = flags(arguments);
        let mut keys = config.map(keys).unwrap_or_default();
        let settings = FLAGS.into_iter().filter_map(|(flag, key)| {
            let setting = flags.remove(flag).or_else(|| keys.remove(key?))?;
            (!setting.value.is_empty()).then_some((flag, setting))
        });
        Self(settings.collect())
    }

    /// The setting of a flag or its configuration key.
    #[must_use]
    pub fn get(&self, flag: &str) -> Option<&Setting> {
        self.0.get(flag)
    }

    /// The setting of a switch, if it has that value.
    #[must_use]
    pub fn switched(&self, flag: &str, on: bool) -> Option<&Setting> {
        self.get(flag).filter(|setting| boolean(&setting.value) == Some(on))
    }

    /// The settings whose cgroups are expected to exist.
    pub fn paths(&self) -> impl Iterator<Item = &Setting> {
        PATHS.into_iter().filter_map(|flag| self.get(flag))
    }

    /// The paths that the observer looks up, each with the setting that names it. Without a setting, kubelet
    /// looks up its own cgroup (`own`) and that of its pods.
    #[must_use]
    pub fn observed_paths(&self, is_kubelet: bool, own: Option<&str>) -> Vec<(String, Option<String>)> {
        let mut observed: Vec<(String, Option<String>)> = Vec::new();
        let configured = self.paths().map(|setting| (setting.value.clone(), Some(setting.source.clone())));
        let own = own.filter(|_| is_kubelet && self.get("kubelet-cgroups").is_none());
        let pods = (is_kubelet && self.switched("cgroups-per-qos", false).is_none()).then(|| self.pods());
        let implicit = own.map(str::to_owned).into_iter().chain(pods).map(|path| (path, None));
        for (path, source) in configured.chain(implicit) {
            // The root always exists.
            if path != "/" && !observed.iter().any(|(known, _)| *known == path) {
                observed.push((path, source));
            }
        }
        observed
    }

    /// The cgroup of all pods, as kubelet's cgroup driver names it.
    fn pods(&self) -> String {
        let systemd = self.get("cgroup-driver").is_some_and(|driver| driver.value == "systemd");
        let root = self.get("cgroup-root").map_or("", |root| root.value.trim_end_matches('/'));
        let path = format!("{root}/kubepods");
        if systemd { nested_slices(&path) } else { path }
    }
}

/// The slice that kubelet's systemd driver makes for a cgroupfs-style path: the parts are joined by `-`, which
/// systemd reads as nesting, so a `-` within a part becomes `_`.
fn nested_slices(path: &str) -> String {
    let mut expanded = String::new();
    let mut slice = String::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if !slice.is_empty() {
            slice.push('-');
        }
        slice.push_str(&part.replace('-', "_"));
        expanded.push('/');
        expanded.push_str(&slice);
        expanded.push_str(".slice");
    }
    expanded
}

/// The flags by name, with `-` for `_`. The last occurrence of a flag wins.
fn flags(arguments: &[String]) -> BTreeMap<String, Setting> {
    let mut flags = BTreeMap::new();
    let mut arguments = arguments.iter().skip(1).peekable();
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { continue };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let name = name.replace('_', "-");
        let setting = match value {
            Some(value) => Setting { source: argument.clone(), value: value.to_owned() },
            // A switch takes no value from the next word.
            None => match arguments.next_if(|next| name != "docker-only" && !next.starts_with('-')) {
                Some(value) => Setting { source: format!("{argument} {value}"), value: value.clone() },
                None => Setting { source: argument.clone(), value: "true".to_owned() },
            },
        };
        flags.insert(name, setting);
    }
    flags
}

/// Parses a boolean like Go's `strconv.ParseBool`.
fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The top-level keys of a YAML or JSON document that have scalar values.
fn keys(text: &str) -> BTreeMap<String, Setting> {
    let setting =
        |key: &str, value: String| (key.to_owned(), Setting { source: format!("{key}: {value}"), value });
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(text) {
        let plain = |(key, value): (String, serde_json::Value)| match value {
            serde_json::Value::String(text) => Some(setting(&key, text)),
            serde_json::Value::Bool(value) => Some(setting(&key, value.to_string())),
            _ => None,
        };
        return object.into_iter().filter_map(plain).collect();
    }
    let plain = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let top = key.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !key.is_empty();
        top.then(|| setting(key, unquoted(value.trim()).to_owned()))
    };
    text.lines().filter_map(plain).collect()
}

/// A YAML scalar without quotes or trailing comment.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inner;
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end()
}

#[cfg(test)]
mod tests {
    use super::nested_slices;

    #[test]
    fn a_cgroup_root_becomes_nested_slices() {
        for (path, slices) in [
            ("/kubepods", "/kubepods.slice"),
            ("/kubelet/kubepods", "/kubelet.slice/kubelet-kubepods.slice"),
            ("/a/b/kubepods", "/a.slice/a-b.slice/a-b-kubepods.slice"),
            ("/my-node/kubepods", "/my_node.slice/my_node-kubepods.slice"),
        ] {
            assert_eq!(nested_slices(path), slices);
        }
    }
}
