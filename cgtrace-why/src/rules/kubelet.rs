//! What an asker's command line and configuration say about cgroups. Pure.

use std::collections::BTreeMap;

use super::facts::Asker;

/// Where a setting was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As it stands there: `--kubelet-cgroups=/x`, or `kubeletCgroups: /x`.
    pub written: String,
    /// Its value.
    pub value: String,
}

/// The settings about cgroups of kubelet or cAdvisor. Flags overrule the configuration's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `--kubelet-cgroups`, `kubeletCgroups`.
    pub kubelet_cgroups: Option<Setting>,
    /// `--runtime-cgroups`.
    pub runtime_cgroups: Option<Setting>,
    /// `--system-cgroups`, `systemCgroups`.
    pub system_cgroups: Option<Setting>,
    /// `--cgroup-root`, `cgroupRoot`.
    pub cgroup_root: Option<Setting>,
    /// `--cgroup-driver`, `cgroupDriver`.
    pub cgroup_driver: Option<Setting>,
    /// `--docker-only`, `--docker_only`, where it is on.
    pub docker_only: Option<Setting>,
    /// cAdvisor's `--raw_cgroup_prefix_whitelist`.
    pub raw_prefixes: Option<Setting>,
    /// `--cgroups-per-qos`, `cgroupsPerQOS`, where it is off.
    pub no_pod_cgroups: Option<Setting>,
    /// `--config`: the path of kubelet's configuration.
    pub config: Option<Setting>,
}

impl Settings {
    /// An asker's.
    #[must_use]
    pub fn of(asker: &Asker) -> Self {
        Self::read(&asker.arguments, asker.config.as_deref())
    }

    /// What stands in a command line, and in a configuration (YAML or JSON).
    #[must_use]
    pub fn read(arguments: &[String], config: Option<&str>) -> Self {
        let flags = flags(arguments);
        let keys = config.map(keys).unwrap_or_default();
        let setting = |flag: &str, key: Option<&str>| {
            let from_key = || keys.get(key?).cloned();
            flags.get(flag).cloned().or_else(from_key).filter(|setting| !setting.value.is_empty())
        };
        Self {
            kubelet_cgroups: setting("kubelet-cgroups", Some("kubeletCgroups")),
            runtime_cgroups: setting("runtime-cgroups", None),
            system_cgroups: setting("system-cgroups", Some("systemCgroups")),
            cgroup_root: setting("cgroup-root", Some("cgroupRoot")),
            cgroup_driver: setting("cgroup-driver", Some("cgroupDriver")),
            docker_only: setting("docker-only", None).filter(|setting| is_true(&setting.value)),
            raw_prefixes: setting("raw-cgroup-prefix-whitelist", None),
            no_pod_cgroups: setting("cgroups-per-qos", Some("cgroupsPerQOS"))
                .filter(|setting| is_false(&setting.value)),
            config: setting("config", None),
        }
    }

    /// The names that it looks up, each with the setting that says so: what it is told, and what kubelet looks for
    /// untold, its own cgroup and its pods'. `own` is where it is.
    #[must_use]
    pub fn questions(&self, is_kubelet: bool, own: Option<&str>) -> Vec<(String, Option<String>)> {
        let mut questions: Vec<(String, Option<String>)> = Vec::new();
        let told =
            self.names().into_iter().map(|setting| (setting.value.clone(), Some(setting.written.clone())));
        let own = own.filter(|_| is_kubelet && self.kubelet_cgroups.is_none());
        let pods = (is_kubelet && self.no_pod_cgroups.is_none()).then(|| self.pods());
        let untold = own.map(str::to_owned).into_iter().chain(pods).map(|name| (name, None));
        for (name, setting) in told.chain(untold) {
            // The root is always there.
            if name != "/" && !questions.iter().any(|(known, _)| *known == name) {
                questions.push((name, setting));
            }
        }
        questions
    }

    /// The cgroup of all pods, as kubelet's driver spells it.
    fn pods(&self) -> String {
        let systemd = self.cgroup_driver.as_ref().is_some_and(|driver| driver.value == "systemd");
        let root = self.cgroup_root.as_ref().map_or("", |root| root.value.trim_end_matches('/'));
        format!("{root}/kubepods{}", if systemd { ".slice" } else { "" })
    }

    /// The names that it expects to exist: each is a question for `why`.
    #[must_use]
    pub fn names(&self) -> Vec<&Setting> {
        [&self.kubelet_cgroups, &self.runtime_cgroups, &self.system_cgroups, &self.cgroup_root]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Flags by their names, with `-` for `_`. Of a flag that is given twice, the last counts.
fn flags(arguments: &[String]) -> BTreeMap<String, Setting> {
    let mut flags = BTreeMap::new();
    let mut arguments = arguments.iter().skip(1).peekable();
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else { continue };
        let (name, value, written) = match flag.split_once('=') {
            Some((name, value)) => (name, value.to_owned(), argument.clone()),
            // A switch takes no word after it.
            None if is_switch(flag) => (flag, "true".to_owned(), argument.clone()),
            None => match arguments.next_if(|next| !next.starts_with('-')) {
                Some(value) => (flag, value.clone(), format!("{argument} {value}")),
                None => (flag, "true".to_owned(), argument.clone()),
            },
        };
        flags.insert(name.replace('_', "-"), Setting { written, value });
    }
    flags
}

fn is_switch(flag: &str) -> bool {
    matches!(flag, "docker-only" | "docker_only")
}

/// As Go's `strconv.ParseBool` reads it.
fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn is_false(value: &str) -> bool {
    matches!(value, "0" | "f" | "F" | "false" | "FALSE" | "False")
}

/// The keys at the top of a YAML or JSON document whose values are plain.
fn keys(text: &str) -> BTreeMap<String, Setting> {
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(text) {
        let plain = |(key, value): (String, serde_json::Value)| {
            let value = match value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Bool(value) => value.to_string(),
                _ => return None,
            };
            Some((key.clone(), Setting { written: format!("{key}: {value}"), value }))
        };
        return object.into_iter().filter_map(plain).collect();
    }
    let plain = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let top = key.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !key.is_empty();
        let value = unquoted(value.trim());
        top.then(|| (key.to_owned(), Setting { written: format!("{key}: {value}"), value: value.to_owned() }))
    };
    text.lines().filter_map(plain).collect()
}

/// A YAML scalar without its quotes, or without the comment behind it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inner;
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end()
}
